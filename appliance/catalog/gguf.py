"""Read the header of a GGUF file from its bytes, trusting nothing in it: pure.

The engine's own reader is C++ that was fuzzed now and then; a file from a stick or a hub is read here
first. Counts, lengths and offsets are checked against the bytes that are there, so that no
header can ask for more time or memory than its size deserves.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from appliance.units import MIB

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
# Twice and more what any published model has.
_MOST_PAIRS: Final = 4096
_MOST_TENSORS: Final = 16_384
# What is kept of a header in memory, all texts and lists together; known ones come to a few hundred KiB.
_MOST_KEPT: Final = 8 * MIB
_ITEM_KEPT: Final = 32
# Vocabularies have up to 262,144 entries and as many merges, twice over.
_MOST_TEXTS: Final = 1_500_000
# Longer lists of numbers are vocabulary too, and not kept: those that describe layers are short.
_LONGEST_KEPT: Final = 1024
_MOST_DIMENSIONS: Final = 4
_DEFAULT_ALIGNMENT: Final = 32
_MOST_ALIGNMENT: Final = 1 << 16

# Metadata values: the code of each type and how struct reads it.
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT: Final = 8
_LIST: Final = 9

# Weights: the code of each type, its name, weights per block and bytes per block (ggml.h, ggml-common.h).
TYPES: Final[dict[int, tuple[str, int, int]]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
}


class BadHeaderError(ValueError):
    """The bytes are no GGUF header; says what is wrong, and where."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: `shape` innermost first, `type` a name as in `TYPES`, `size` in bytes, `offset` within the data."""

    name: str
    shape: tuple[int, ...]
    type: str
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """A file's metadata and tensors. Of longer lists `metadata` has only the length, as `ListLength`."""

    version: int
    metadata: dict[str, Any]
    tensors: tuple[Tensor, ...]
    data_offset: int


@dataclass(frozen=True, slots=True)
class ListLength:
    """How long a list is whose items are not kept."""

    items: int


def parse(data: bytes | memoryview, file_size: int) -> Header:
    """Read the header at the start of `data`; `file_size` is the whole file's, in bytes. Raises BadHeaderError."""
    reader = _Reader(memoryview(data))
    if reader.take(4) != _MAGIC:
        raise BadHeaderError("it does not begin with GGUF")
    version = reader.number("I")
    if version not in _VERSIONS:
        raise BadHeaderError(f"its version is {version}, and known are 2 and 3")
    tensors, pairs = reader.number("Q"), reader.number("Q")
    if tensors > _MOST_TENSORS or pairs > _MOST_PAIRS:
        raise BadHeaderError(f"it claims {tensors} tensors and {pairs} fields")
    metadata = _metadata(reader, pairs)
    alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= _MOST_ALIGNMENT or alignment & (alignment - 1):
        raise BadHeaderError(f"its alignment is {alignment!r}")
    found = _tensors(reader, tensors, alignment)
    start = _padded(reader.at, alignment)
    end = start + found[-1].offset + found[-1].size if found else reader.at
    if end > file_size:
        raise BadHeaderError(f"its tensors end at byte {end}, and the file has {file_size}")
    return Header(version, metadata, found, start)


class _Reader:
    """Walks over the bytes; going past their end is an error."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self.at = 0
        self._texts_left = _MOST_TEXTS
        self._left = _MOST_KEPT

    def skip(self, count: int) -> int:
        """Go on by `count` bytes; returns where they began."""
        start = self.at
        if count > len(self._data) - start:
            raise BadHeaderError(f"it ends within its header, at byte {len(self._data)}")
        self.at = start + count
        return start

    def take(self, count: int) -> bytes:
        start = self.skip(count)
        return bytes(self._data[start : self.at])

    def number(self, kind: str) -> Any:
        form = "<" + kind
        return struct.unpack_from(form, self._data, self.skip(struct.calcsize(form)))[0]

    def text(self) -> str:
        length = self.number("Q")
        self._keep(length)
        return self.take(length).decode("utf-8", "replace")

    def numbers(self, kind: str, count: int) -> tuple[Any, ...] | ListLength:
        start = self.skip(count * struct.calcsize("<" + kind))
        if count > _LONGEST_KEPT:
            return ListLength(count)
        self._keep(count * _ITEM_KEPT)
        return struct.unpack_from(f"<{count}{kind}", self._data, start)

    def _keep(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise BadHeaderError(f"what stands at byte {self.at} claims {size} bytes")

    def skip_texts(self, count: int) -> None:
        self._texts_left -= count
        if self._texts_left < 0:
            raise BadHeaderError(f"a list at byte {self.at} claims {count} texts")
        data, at, end = self._data, self.at, len(self._data)
        unpack: Callable[..., tuple[int]] = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at + 8 > end:
                raise BadHeaderError(f"it ends within its header, at byte {end}")
            at += 8 + unpack(data, at)[0]
        # Each step was checked by the one after it; the last is checked here.
        self.skip(at - self.at)


def _metadata(reader: _Reader, pairs: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = reader.text()
        if key in metadata:
            raise BadHeaderError(f"its field {key} is there twice")
        metadata[key] = _value(reader, reader.number("I"))
    return metadata


def _value(reader: _Reader, kind: int) -> Any:
    if kind in _SCALARS:
        return reader.number(_SCALARS[kind])
    if kind == _TEXT:
        return reader.text()
    if kind == _LIST:
        return _list(reader)
    raise BadHeaderError(f"a field before byte {reader.at} is of the unknown type {kind}")


def _list(reader: _Reader) -> tuple[Any, ...] | ListLength:
    kind, count = reader.number("I"), reader.number("Q")
    if kind == _TEXT:
        reader.skip_texts(count)
        return ListLength(count)
    if kind not in _SCALARS:
        raise BadHeaderError(f"a list before byte {reader.at} is of the unknown type {kind}")
    return reader.numbers(_SCALARS[kind], count)


def _tensors(reader: _Reader, count: int, alignment: int) -> tuple[Tensor, ...]:
    tensors: list[Tensor] = []
    names: set[str] = set()
    expected = 0
    for _ in range(count):
        tensor = _tensor(reader)
        if tensor.name in names:
            raise BadHeaderError(f"its tensor {tensor.name} is there twice")
        # The engine wants them one after the other, and so nothing overlaps.
        if tensor.offset != expected:
            raise BadHeaderError(f"its tensor {tensor.name} begins at {tensor.offset}, and {expected} would be right")
        names.add(tensor.name)
        tensors.append(tensor)
        expected = _padded(tensor.offset + tensor.size, alignment)
    return tuple(tensors)


def _tensor(reader: _Reader) -> Tensor:
    name = reader.text()
    dimensions = reader.number("I")
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise BadHeaderError(f"its tensor {name} has {dimensions} dimensions")
    shape = tuple(reader.number("Q") for _ in range(dimensions))
    code = reader.number("I")
    if code not in TYPES:
        raise BadHeaderError(f"its tensor {name} is of the unknown type {code}")
    type_name, block, size = TYPES[code]
    weights = 1
    for length in shape:
        weights *= length
        if not 0 < weights < 1 << 62:
            raise BadHeaderError(f"its tensor {name} has the shape {list(shape)}")
    if shape[0] % block:
        raise BadHeaderError(f"its tensor {name} has rows of {shape[0]}, which {type_name} cannot have")
    return Tensor(name, shape, type_name, weights // block * size, reader.number("Q"))


def _padded(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
