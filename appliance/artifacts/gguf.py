"""Is this file a GGUF model, and whole? What is its shape? Asked before the engine opens it."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from appliance.catalog.gguf import BadHeaderError, Header, parse
from appliance.catalog.shape import Shape, shape_of
from appliance.errors import ApplianceError
from appliance.units import MIB, show_bytes

T = TypeVar("T")

_HEADER = struct.Struct("<4sIQQ")
_VERSIONS = (2, 3)
# Far above any real model's tensors and metadata, far below what a forged count would ask for.
_MOST = 1_000_000
# The largest headers, of vocabularies with 262,144 words, are a fifth of it.
_LONGEST_HEADER = 48 * MIB


def check(path: Path, size: int) -> None:
    """Raises model-missing, model-truncated or model-not-gguf; `size` is what the file must have, in bytes."""
    try:
        found = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
    except FileNotFoundError as error:
        raise ApplianceError(
            "model-missing", f"The model's file {path} is not there.", "Fetch it with `appliance models pull`."
        ) from error
    if found < size:
        raise ApplianceError(
            "model-truncated",
            f"{path} has {show_bytes(found)} ({found} bytes), and must have {size} bytes.",
            "Fetch it again with `appliance models pull`.",
        )
    if found != size or not _is_gguf(header):
        raise ApplianceError(
            "model-not-gguf",
            f"{path} is not the GGUF file that it must be.",
            "Fetch it again with `appliance models pull`.",
        )


def inspect(path: Path) -> Header:
    """The header of a model file, every claim of it held against the file. Raises model-missing or model-not-gguf."""
    return _trusted(path, lambda header, size: header)


def shape(path: Path) -> Shape:
    """The shape of a model file, from its header. Raises model-missing or model-not-gguf."""
    return _trusted(path, shape_of)


def _trusted(path: Path, read: Callable[[Header, int], T]) -> T:
    try:
        # Read, not mapped: a file that is cut meanwhile must not end this process.
        with path.open("rb") as file:
            data = file.read(_LONGEST_HEADER)
            size = path.stat().st_size
    except OSError as error:
        raise ApplianceError(
            "model-missing", f"The model's file {path} cannot be read: {error.strerror}.", "Check the path."
        ) from error
    try:
        return read(parse(data, size), size)
    except BadHeaderError as error:
        raise ApplianceError(
            "model-not-gguf", f"{path} is not a GGUF file that can be trusted: {error}.", "Fetch it again."
        ) from error


def _is_gguf(header: bytes) -> bool:
    if len(header) < _HEADER.size:
        return False
    magic, version, tensors, pairs = _HEADER.unpack(header)
    return magic == b"GGUF" and version in _VERSIONS and tensors <= _MOST and pairs <= _MOST
