"""A safetensors file is read, or refused in words."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.artifacts.safetensors import BadTensorsError, Entry, read_data, read_table
from tests.support.tiny_bert import framed, safetensors

DATA = struct.pack("<6f", 1, 2, 3, 4, 5, 6)
SOUND = safetensors({"b": ("F32", [2, 3], DATA), "a": ("I64", [1], bytes(8)), "scalar": ("F16", [], b"\0<")})


def entry(**changes: Any) -> bytes:
    """A file with one tensor of two numbers, and something changed in its entry."""
    return framed(json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}).encode())


def refusal(data: bytes) -> str:
    """Why the table is refused."""
    with pytest.raises(BadTensorsError) as caught:
        read_table(io.BytesIO(data))
    return str(caught.value)


def test_the_tensors_come_in_the_order_of_their_data_and_then_the_data() -> None:
    file = io.BytesIO(SOUND)
    table = read_table(file)
    assert table == (Entry("b", "F32", (2, 3), 24), Entry("a", "I64", (1,), 8), Entry("scalar", "F16", (), 2))
    assert list(read_data(file, table[0], 10)) == [DATA[:10], DATA[10:20], DATA[20:]]
    assert [b"".join(read_data(file, one, 100)) for one in table[1:]] == [bytes(8), b"\0<"]
    assert file.read() == b""


def test_the_order_in_the_table_does_not_matter() -> None:
    first = {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}
    second = {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}
    table = read_table(io.BytesIO(framed(json.dumps({"z": second, "a": first}).encode())))
    assert [one.name for one in table] == ["a", "z"]


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    for length in range(len(SOUND)):
        file = io.BytesIO(SOUND[:length])
        with pytest.raises(BadTensorsError, match="it ends too early"):
            for one in read_table(file):
                list(read_data(file, one, 7))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (struct.pack("<Q", 2**63) + SOUND[8:], f"it claims a table of {2**63} bytes"),
        (struct.pack("<Q", len(SOUND)) + SOUND[8:], "it ends too early"),
        (struct.pack("<Q", 20) + SOUND[8:], "its table is not JSON"),
        (framed(b""), "its table is not JSON"),
        (framed(b"\xff\xfe"), "its table is not JSON"),
        (framed(b"[" * 100_000), "its table is not JSON"),
        (framed(b"[]"), "its table is not a JSON object"),
        (framed(b'{"a": 1}'), "its tensor a has an entry that makes no sense"),
        (entry(dtype="F33"), "its tensor a has an entry that makes no sense"),
        (entry(dtype="F64"), "its tensor a has an entry that makes no sense"),
        (entry(dtype=None), "its tensor a has an entry that makes no sense"),
        (entry(shape=[3]), "its tensor a has an entry that makes no sense"),
        (entry(shape=[-2]), "its tensor a has an entry that makes no sense"),
        (entry(shape=[2.0]), "its tensor a has an entry that makes no sense"),
        (entry(shape=[True, 2]), "its tensor a has an entry that makes no sense"),
        (entry(shape=[2, 1, 1, 1, 1]), "its tensor a has an entry that makes no sense"),
        (entry(shape="2"), "its tensor a has an entry that makes no sense"),
        (entry(data_offsets=[8, 0]), "its tensor a has an entry that makes no sense"),
        (entry(data_offsets=[0, 8, 16]), "its tensor a has an entry that makes no sense"),
        (entry(data_offsets=[0, 2**70], shape=[2**68]), "its tensor a has an entry that makes no sense"),
        (entry(data_offsets=[4, 12]), "its tensor a begins at 4, and 0 would be right"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(data: bytes, said: str) -> None:
    assert refusal(data) == said


def read_or_refused(data: bytes) -> None:
    file = io.BytesIO(data)
    try:
        for one in read_table(file):
            assert sum(map(len, read_data(file, one, 1024))) == one.size
    except BadTensorsError as error:
        assert str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read_or_refused(data)
    read_or_refused(framed(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "U8", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "dtype", "shape", "data_offsets", "__metadata__"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_table_is_read_or_refused(table: Any) -> None:
    read_or_refused(framed(json.dumps(table).encode()) + bytes(64))
    read_or_refused(framed(json.dumps({"a": table}).encode()) + bytes(64))
