"""Quantization to Q8_0: its rounding, its limits, and the reference's arithmetic bit for bit."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.artifacts.q8 import BLOCK, quantize


def block(*weights: float) -> bytes:
    """One block that begins with these weights; the others are 0."""
    return struct.pack(f"<{BLOCK}f", *weights, *[0.0] * (BLOCK - len(weights)))


def reference(data: bytes) -> bytes:
    """What gguf-py's Q8_0 computes, in its own steps, all in float32."""
    blocks = np.frombuffer(data, dtype="<f4").reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(divide="ignore"):
        scaled = blocks * np.where(scale == 0, np.float32(0), np.float32(1) / scale)
    magnitude = np.abs(scaled)
    floor = np.floor(magnitude)
    rounded = np.sign(scaled) * (floor + np.floor(2 * (magnitude - floor)))
    return np.concatenate(
        [scale.astype("<f2").view(np.uint8), rounded.astype(np.int8).view(np.uint8)], axis=1
    ).tobytes()


def test_the_largest_weight_becomes_127_and_a_half_goes_away_from_zero() -> None:
    scale, *numbers = struct.unpack(f"<e{BLOCK}b", quantize(block(127, 0.5, -0.5, 1.5, 2.5, -2.5, 0.49999997, -126.5)))
    assert scale == 1
    assert numbers[:9] == [127, 1, -1, 2, 3, -3, 0, -127, 0]


def test_a_block_of_nothing_is_nothing() -> None:
    assert quantize(block(0.0, -0.0)) == bytes(34)
    assert quantize(b"") == b""


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf, 1e38, 1e-37])
def test_weights_that_it_cannot_hold_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weights that Q8_0 cannot hold"):
        quantize(block(0.0, weight))


def test_half_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        quantize(bytes(127))


# Down to where a scale is no longer a whole float32, and up to where float16 ends.
WEIGHTS = st.one_of(
    st.floats(-1, 1, width=32).filter(lambda weight: weight == 0 or abs(weight) > 1e-30),
    st.floats(-1e6, 1e6, width=32).filter(lambda weight: weight == 0 or abs(weight) > 1e-30),
    st.integers(-254, 254).map(lambda number: number / 2),
)


@given(st.lists(WEIGHTS, min_size=BLOCK, max_size=BLOCK))
def test_it_computes_what_the_reference_does(weights: list[float]) -> None:
    assert quantize(block(*weights)) == reference(block(*weights))


def test_so_it_does_for_many_weights_as_they_occur() -> None:
    data = np.random.default_rng(1).normal(0, 0.05, 200_000 // BLOCK * BLOCK).astype("<f4").tobytes()
    assert quantize(data) == reference(data)


@given(st.binary(max_size=512))
def test_any_bytes_are_quantized_or_refused(data: bytes) -> None:
    try:
        assert len(quantize(data)) == len(data) // 128 * 34
    except ValueError as error:
        assert str(error) == "it holds weights that Q8_0 cannot hold"
