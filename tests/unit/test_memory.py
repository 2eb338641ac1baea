"""What a model needs, in bytes: what follows from its shape, and what never happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.catalog.gguf import Tensor
from appliance.catalog.shape import Cache, Layer, Shape
from appliance.selector.memory import (
    KV_TYPES,
    Load,
    Need,
    Part,
    cells,
    checkpoint_bytes,
    compute_bytes,
    corrected,
    kv_bytes,
    need,
    reordered_types,
    reserved_bytes,
    state_bytes,
)

AVX2 = frozenset({"avx2"})
TENSORS = (
    Tensor("token_embd.weight", (4096, 32768), "Q4_0", 1000, 0),
    Tensor("blk.0.attn_q.weight", (4096, 4096), "Q4_0", 200, 1024),
    Tensor("blk.0.attn_norm.weight", (4096,), "F32", 30, 2048),
    Tensor("blk.0.odd.weight", (4096, 4095), "Q4_0", 7, 4096),
    Tensor("blk.0.ffn_down.weight", (4096, 4096), "Q6_K", 400, 8192),
    Tensor("output.weight", (4096, 32768), "Q4_0", 5000, 9000),
)
MISTRAL = Shape("llama", 32768, 4096, 14336, 4096, 32768, 0, 0, (Layer(Cache.FULL, 1024, 1024),) * 32, TENSORS, 99)
LOADS = st.builds(
    Load,
    context=st.integers(256, 65536),
    slots=st.integers(1, 16),
    kv=st.sampled_from(sorted(KV_TYPES)),
    repack=st.booleans(),
    micro_batch=st.sampled_from([1, 8, 32, 128, 512, 2048]),
)


def test_a_cache_has_two_numbers_for_each_head_layer_and_token() -> None:
    f16 = kv_bytes(MISTRAL, Load(8192, 4))
    assert f16 == 2 * 32 * 8 * 128 * 2 * 8192 * 4
    assert kv_bytes(MISTRAL, Load(8192, 4, "q8_0")) == f16 // 64 * 34


def test_a_window_bounds_the_cache_of_its_layers() -> None:
    windowed = replace(MISTRAL, window=1024, layers=(Layer(Cache.WINDOW, 1024, 1024), *MISTRAL.layers[1:]))
    saved = kv_bytes(MISTRAL, Load(8192, 1)) - kv_bytes(windowed, Load(8192, 1))
    assert saved == (8192 - (1024 + 512)) * 2048 * 2
    assert kv_bytes(windowed, Load(1024, 1)) == kv_bytes(MISTRAL, Load(1024, 1))


def test_a_state_costs_the_same_for_any_context() -> None:
    stateful = replace(MISTRAL, layers=(Layer(Cache.STATE, state=1000),) * 4)
    assert state_bytes(stateful, 3) == 4 * 1000 * 3 * 4
    assert kv_bytes(stateful, Load(8192, 3)) == 0


def test_a_conversation_can_go_back_to_one_copy_of_its_windows_and_states() -> None:
    layers = (Layer(Cache.WINDOW, 1024, 1024), Layer(Cache.STATE, state=1000), *MISTRAL.layers[2:])
    mixed = replace(MISTRAL, window=1024, layers=layers)
    assert checkpoint_bytes(mixed, Load(8192, 3)) == 3 * (1024 * 2048 * 2 + 1000 * 4)
    assert checkpoint_bytes(MISTRAL, Load(8192, 3)) == 0


def test_only_what_is_multiplied_and_can_be_reordered_is_held_twice() -> None:
    def repack(shape: Shape, flags: frozenset[str], repack: bool = True) -> int:
        return next(
            part.size for part in need(shape, Load(512, 1, repack=repack), flags).host if part.cause == "repack"
        )

    assert repack(MISTRAL, AVX2) == 200 + 5000
    assert repack(MISTRAL, AVX2, repack=False) == 0
    assert repack(MISTRAL, frozenset()) == 0
    assert repack(MISTRAL, frozenset({"asimddp"})) == 200 + 400 + 5000
    tied = replace(MISTRAL, tensors=TENSORS[:-1])
    assert repack(tied, AVX2) == 1000 + 200


def test_each_kind_of_processor_reorders_its_own_types() -> None:
    assert "Q2_K" in reordered_types(frozenset({"avx2", "avx512f"})) - reordered_types(AVX2)
    assert "Q8_0" in reordered_types(frozenset({"avx2", "amx_tile", "amx_int8"}))


@pytest.mark.parametrize(("context", "slots", "expected"), [(2048, 4, 2048), (1000, 1, 1024), (100, 3, 256)])
def test_a_context_is_rounded_up_as_the_engine_does(context: int, slots: int, expected: int) -> None:
    assert cells(Load(context, slots)) == expected


@given(LOADS)
def test_more_context_or_slots_never_need_less_and_no_part_is_negative(load: Load) -> None:
    plan = need(MISTRAL, load, AVX2)
    assert all(part.size >= 0 for part in plan.host)
    assert need(MISTRAL, replace(load, context=load.context + 256), AVX2).host_bytes > plan.host_bytes
    assert need(MISTRAL, replace(load, slots=load.slots + 1), AVX2).host_bytes > plan.host_bytes
    assert (plan.mapped_bytes, plan.device_bytes) == (99, [])


@given(LOADS, st.integers(1, 300_000))
def test_what_is_set_aside_for_computing_is_never_less_than_what_is_touched(load: Load, vocabulary: int) -> None:
    shape = replace(MISTRAL, vocabulary=vocabulary)
    assert reserved_bytes(shape, load) >= compute_bytes(shape, load) > 0


def test_what_is_set_aside_has_results_for_every_token_of_a_micro_batch() -> None:
    load = Load(8192, 4, micro_batch=128)
    wordy = replace(MISTRAL, vocabulary=500_000)
    assert reserved_bytes(wordy, load) == 4 * (128 * (500_000 + 2 * 4096) + 4 * 500_000)
    # Where results are few, feeding forward is the peak, and masks stand beside it.
    assert reserved_bytes(MISTRAL, load) == 128 * (4 * (3 * 14336 + 4 * 4096) + 2 * 8192) + 4 * 4 * 32768


PLAN = Need((Part("kv", 600), Part("server", 400)), (Part("weights", 5000),), ((Part("kv", 100),), (Part("kv", 300),)))


def test_a_plan_is_corrected_by_what_a_like_one_was_short_of_in_every_memory() -> None:
    found = corrected(PLAN, planned=2000, taken=2500)
    assert (found.host_bytes, found.device_bytes) == (1250, [125, 375])
    assert found.mapped_bytes == 5000, "a file has the size that it has"
    assert {part.cause for part in found.host} == {"kv", "server", "measured"}


@given(planned=st.integers(0, 10**12), taken=st.integers(0, 10**12))
def test_a_plan_is_never_corrected_to_less(planned: int, taken: int) -> None:
    found = corrected(PLAN, planned, taken)
    assert found.host_bytes >= PLAN.host_bytes
    assert (found == PLAN) is (taken <= planned or not planned)
