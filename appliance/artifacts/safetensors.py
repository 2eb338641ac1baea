"""Read what a safetensors file holds, trusting nothing in it: its table, and then its data from front to back."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import IO, Any

from appliance.units import MIB

# A hundred times that of the models read here.
_LONGEST_TABLE = MIB
_MOST_DIMENSIONS = 4
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


class BadTensorsError(ValueError):
    """The bytes are no safetensors file, or not the one that is wanted; says what is wrong."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of the table: `shape` outermost first, `size` in bytes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int


def read_table(file: IO[bytes]) -> tuple[Entry, ...]:
    """The tensors in the order of their data; `file` then stands at the first one's. Raises BadTensorsError."""
    (length,) = struct.unpack("<Q", _take(file, 8))
    if length > _LONGEST_TABLE:
        raise BadTensorsError(f"it claims a table of {length} bytes")
    try:
        table = json.loads(_take(file, length))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadTensorsError):
            raise
        raise BadTensorsError("its table is not JSON") from error
    if not isinstance(table, dict):
        raise BadTensorsError("its table is not a JSON object")
    table.pop("__metadata__", None)
    placed = sorted((_entry(name, value) for name, value in table.items()), key=lambda one: one[0])
    at = 0
    for start, entry in placed:
        if start != at:
            raise BadTensorsError(f"its tensor {entry.name} begins at {start}, and {at} would be right")
        at += entry.size
    return tuple(entry for _, entry in placed)


def read_data(file: IO[bytes], entry: Entry, piece: int) -> Iterator[bytes]:
    """The next tensor's data, in pieces of so many bytes. Raises BadTensorsError."""
    for at in range(0, entry.size, piece):
        yield _take(file, min(piece, entry.size - at))


def _take(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise BadTensorsError("it ends too early")
    return data


def _entry(name: str, value: Any) -> tuple[int, Entry]:
    """Where a tensor's data begins, and the tensor."""
    match value:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [start, end]}:
            known = dtype in _WIDTHS and len(shape) <= _MOST_DIMENSIONS
            if known and all(type(number) is int and 0 <= number < 1 << 48 for number in (*shape, start, end)):
                entry = Entry(name, dtype, tuple(shape), end - start)
                if prod(shape) * _WIDTHS[dtype] == entry.size:
                    return start, entry
    raise BadTensorsError(f"its tensor {name} has an entry that makes no sense")
