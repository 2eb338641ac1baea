"""Quantization to Q8_0, bit for bit as llama.cpp's reference does it: pure, and the same on every processor.

Each block of 32 weights becomes a scale, d = largest magnitude / 127, and 32 whole numbers, w / d rounded
half away from zero. The reference computes in float32; here each of its steps is computed in
float64 and rounded to float32, which for single divisions and products gives the same bits.
"""

from __future__ import annotations

import struct

BLOCK = 32
BLOCK_BYTES = BLOCK * 4

_SINGLE = struct.Struct("<f")
_WEIGHTS = struct.Struct(f"<{BLOCK}f")
_QUANTIZED = struct.Struct(f"<e{BLOCK}b")
# `round` sends a half to the even neighbour. This pushes a half away from zero, and is far too small to carry a
# float32 beyond one that lies below it.
_AWAY = 1 + 2**-40


def quantize(data: bytes) -> bytes:
    """Little-endian float32 weights, in whole blocks, as Q8_0. Raises ValueError for weights that it cannot hold."""
    to_single, from_single = _SINGLE.pack, _SINGLE.unpack
    blocks: list[bytes] = []
    try:
        for weights in _WEIGHTS.iter_unpack(data):
            (scale,) = from_single(to_single(max(map(abs, weights)) / 127))
            (inverse,) = from_single(to_single(1 / scale)) if scale else (0.0,)
            scaled = _WEIGHTS.unpack(_WEIGHTS.pack(*[weight * inverse for weight in weights]))
            blocks.append(_QUANTIZED.pack(scale, *[round(weight * _AWAY) for weight in scaled]))
    except (OverflowError, ValueError, struct.error) as error:
        raise ValueError("it holds weights that Q8_0 cannot hold") from error
    return b"".join(blocks)
