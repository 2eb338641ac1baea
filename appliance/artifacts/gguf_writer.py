"""The beginning of a GGUF file as bytes: its fields, its tensors, and where the data of each will lie. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from appliance.catalog.gguf import TYPES

# Key, kind, value. The kinds are "text", "texts", or a letter of `struct`, with a star for a list of such numbers.
Field = tuple[str, str, Any]

_ALIGNMENT = 32
_VERSION = 3
_TEXT, _LIST = 8, 9
_KINDS = {"I": 4, "i": 5, "f": 6, "?": 7}
_CODES = {name: code for code, (name, _, _) in TYPES.items()}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor to be written: `shape` innermost first, `type` a name as in `TYPES`."""

    name: str
    shape: tuple[int, ...]
    type: str

    @property
    def size(self) -> int:
        """Bytes of its data, without padding."""
        _, block, size = TYPES[_CODES[self.type]]
        return prod(self.shape) // block * size


def header(fields: Sequence[Field], tensors: Sequence[Tensor]) -> bytes:
    """All that comes before the data: the tensors' data follow in their order, each with its `padding`."""
    pieces = [struct.pack("<4sIQQ", b"GGUF", _VERSION, len(tensors), len(fields))]
    pieces += [_text(key) + _value(kind, value) for key, kind, value in fields]
    offset = 0
    for tensor in tensors:
        numbers = (len(tensor.shape), *tensor.shape, _CODES[tensor.type], offset)
        pieces.append(_text(tensor.name) + struct.pack(f"<I{len(tensor.shape)}QIQ", *numbers))
        offset += tensor.size + len(padding(tensor.size))
    data = b"".join(pieces)
    return data + padding(len(data))


def padding(size: int) -> bytes:
    """What fills up after so many bytes, so that the next tensor begins where it must."""
    return bytes(-size % _ALIGNMENT)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _texts(texts: Iterable[str]) -> bytes:
    return b"".join(map(_text, texts))


def _value(kind: str, value: Any) -> bytes:
    if kind == "text":
        return struct.pack("<I", _TEXT) + _text(value)
    if kind == "texts":
        return struct.pack("<IIQ", _LIST, _TEXT, len(value)) + _texts(value)
    if kind.endswith("*"):
        return struct.pack(f"<IIQ{len(value)}{kind[0]}", _LIST, _KINDS[kind[0]], len(value), *value)
    return struct.pack(f"<I{kind}", _KINDS[kind], value)
