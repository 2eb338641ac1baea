"""A model's file before the engine opens it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.artifacts.gguf import check
from appliance.errors import ApplianceError


def header(magic: bytes = b"GGUF", version: int = 3, tensors: int = 291, pairs: int = 30) -> bytes:
    """A GGUF file's first 24 bytes."""
    return struct.pack("<4sIQQ", magic, version, tensors, pairs)


def code_of(path: Path, size: int) -> str:
    """The code of the refusal."""
    with pytest.raises(ApplianceError) as caught:
        check(path, size)
    assert str(path) in caught.value.sentence
    assert "appliance models pull" in caught.value.hint
    return caught.value.code


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the model's file is to be."""
    return tmp_path / "model.gguf"


@pytest.mark.parametrize("version", [2, 3])
def test_a_whole_gguf_file_is_accepted(file: Path, version: int) -> None:
    file.write_bytes(header(version=version) + b"weights")
    check(file, 31)


def test_a_file_that_is_not_there_is_missing(file: Path) -> None:
    assert code_of(file, 31) == "model-missing"


@pytest.mark.parametrize("length", [0, 3, 24, 30])
def test_a_file_that_is_too_short_is_truncated(file: Path, length: int) -> None:
    file.write_bytes((header() + b"weights")[:length])
    assert code_of(file, 31) == "model-truncated"


@pytest.mark.parametrize(
    "data",
    [
        header(magic=b"PK\3\4") + b"weights",
        header(magic=b"FUGG") + b"weights",
        header(version=1) + b"weights",
        header(version=2**32 - 1) + b"weights",
        header(tensors=2**63) + b"weights",
        header(pairs=2**64 - 1) + b"weights",
        b"<!DOCTYPE html><html>Error 404</html>"[:31],
        header() + b"weights and more",
    ],
)
def test_a_file_that_is_something_else_never_reaches_the_engine(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert code_of(file, 31) == "model-not-gguf"


def test_a_file_smaller_than_a_header_is_no_model_even_if_that_size_was_pinned(file: Path) -> None:
    file.write_bytes(b"GGUF")
    assert code_of(file, 4) == "model-not-gguf"


@given(st.binary(max_size=64), st.integers(0, 64))
def test_any_bytes_are_a_model_or_a_known_refusal(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, size: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.gguf"
    file.write_bytes(data)
    try:
        check(file, size)
    except ApplianceError as error:
        assert error.code in ("model-truncated", "model-not-gguf")
    else:
        assert len(data) == size
        assert data.startswith(b"GGUF")
