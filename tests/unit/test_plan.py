"""Which models a machine is to run: what is chosen, why the better ones were not, and what never happens."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.catalog.models import Catalogue, Model, parse
from appliance.catalog.shape import Cache
from appliance.control.plan import catalogue
from appliance.hardware.facts import Hardware
from appliance.selector.known import estimate, size_of
from appliance.selector.places import host_taken
from appliance.selector.plan import SetPlan, Wishes, plan_one, plan_set, rank, upgrade
from appliance.units import GIB
from docs.machines import MACHINES, card, computer

KNOWN = catalogue()


def never_too_much(found: SetPlan) -> None:
    """The models together take no more than there is, and what is left is said rightly."""
    host = sum(host_taken(placement.need) for placement in found.models)
    assert host + found.left.host == found.place.host
    assert found.left.host >= 0 or not found.models
    for index, free in enumerate(found.place.gpus):
        taken = sum(placement.need.device_bytes[index] for placement in found.models if placement.on_gpu)
        assert taken + found.left.gpus[index] == free
        assert found.left.gpus[index] >= 0


def every_better_one_has_a_reason(known: Catalogue, found: SetPlan) -> None:
    """No model that ranks higher than the chosen one was left out without a word."""
    assert found.chat is not None
    told = {passed.model.id for passed in found.passed_over}
    better = {model.id for model in known.by_role("chat") if rank(model) > rank(found.chat.model)}
    assert better <= told
    assert found.chat.model.id not in told
    assert all(passed.reason for passed in found.passed_over)


@pytest.mark.parametrize("machine", MACHINES)
def test_each_machine_gets_a_set_that_fits_and_a_reason_for_each_better_model(machine: str) -> None:
    found = plan_set(KNOWN, MACHINES[machine], Wishes())
    never_too_much(found)
    every_better_one_has_a_reason(KNOWN, found)
    assert found.chat is not None
    assert found.chat.alone >= Wishes().floor
    assert found.chat.load.context >= 4096
    assert any(placement.model.role == "embed" for placement in found.models)


@settings(max_examples=40, deadline=None)
@given(
    memory=st.integers(2, 300),
    cards=st.lists(st.integers(2, 96), max_size=3),
    bandwidth=st.integers(5, 400),
    wishes=st.builds(
        Wishes,
        seats=st.integers(1, 200),
        context=st.integers(512, 131_072),
        size_class=st.sampled_from(["", "4b", "7b", "13b", "30b"]),
        floor=st.floats(0, 50),
    ),
)
def test_no_machine_and_no_wish_makes_a_plan_that_does_not_fit(
    memory: int, cards: list[int], bandwidth: int, wishes: Wishes
) -> None:
    machine = computer(memory, *(card(size, 500) for size in cards), bandwidth=bandwidth)
    found = plan_set(KNOWN, machine, wishes)
    never_too_much(found)
    if found.chat is not None:
        every_better_one_has_a_reason(KNOWN, found) if found.chat.alone >= wishes.floor else None
        assert found.chat.load.slots <= wishes.slots
        assert found.chat.load.context <= wishes.context


def test_the_cache_goes_to_8_bits_before_context_and_context_before_bits_and_bits_before_slots() -> None:
    seen = []
    for tenths in range(90, 50, -1):
        gpu = replace(card(12, 448), memory_free=int(tenths / 10 * GIB))
        chat = plan_set(KNOWN, computer(32, gpu), Wishes(size_class="7b")).chat
        assert chat is not None
        if chat.model.family.id != "qwen3.5-9b":
            break
        seen.append((chat.load.slots, chat.model.bits, chat.load.context, chat.load.kv == "f16"))
    assert seen == sorted(seen, reverse=True)
    assert len({bits for _, bits, _, _ in seen}) >= 3


def test_families_of_one_quality_are_not_mixed_up() -> None:
    two = tuple(
        replace(model, family=replace(model.family, quality=70))
        for model in KNOWN.models
        if model.family.id in ("qwen3.5-4b", "qwen3-4b")
    )
    found = plan_set(Catalogue(two), computer(16, card(4, 300)), Wishes())
    assert found.chat is not None
    passed = [one.model.family.id for one in found.passed_over]
    assert set(passed) <= {found.chat.model.family.id}


def test_a_processor_gets_no_model_that_nobody_would_wait_for() -> None:
    found = plan_set(KNOWN, computer(64, bandwidth=50), Wishes())
    assert found.chat is not None
    assert found.chat.model.family.active_parameters
    reasons = {passed.model.id: passed.reason for passed in found.passed_over}
    assert "tokens a second" in reasons["qwen3.8-27b-ud_q4_k_m"]


def test_where_everything_is_too_slow_the_fastest_is_taken() -> None:
    found = plan_set(KNOWN, computer(16, bandwidth=1), Wishes(floor=1000))
    assert found.chat is not None
    assert found.chat.model.trial


@settings(max_examples=40, deadline=None)
@given(memory=st.integers(8, 300), bandwidth=st.integers(5, 400))
def test_a_small_model_is_quick_or_as_fast_as_the_chat_model(memory: int, bandwidth: int) -> None:
    chat, *beside = plan_set(KNOWN, computer(memory, bandwidth=bandwidth), Wishes()).models
    assert all(one.alone >= min(chat.alone, 16) for one in beside if one.model.role == "small")


def test_one_role_alone_gets_what_the_others_were_not_promised() -> None:
    machine, wishes = computer(24), Wishes()
    alone = plan_one(KNOWN, machine, "chat", wishes)
    beside = plan_one(KNOWN, machine, "chat", wishes, promised=16 * GIB)
    assert alone is not None
    assert beside is not None
    assert rank(beside.model) < rank(alone.model)
    assert plan_one(KNOWN, machine, "small", wishes) is not None
    assert plan_one(KNOWN, machine, "small", wishes, promised=24 * GIB) is None
    assert plan_one(KNOWN, machine, "chat", wishes, promised=24 * GIB) is None


def test_one_role_alone_is_on_the_processor_where_the_card_is_full() -> None:
    full = replace(card(24, 900), memory_free=GIB)
    found = plan_one(KNOWN, computer(32, full), "chat", Wishes())
    assert found is not None
    assert not found.on_gpu


def test_a_card_too_small_for_any_model_leaves_the_work_to_the_processor() -> None:
    found = plan_set(KNOWN, computer(32, card(2, 100)), Wishes())
    assert found.chat is not None
    assert not found.chat.on_gpu
    assert found.place.gpus == ()


def test_a_model_of_two_cards_is_on_both_and_reckoned_with_a_layer_more_than_its_share() -> None:
    found = plan_set(KNOWN, MACHINES["64 GiB and two cards of 24 GiB"], Wishes())
    assert found.chat is not None
    devices = found.chat.need.device_bytes
    assert len(devices) == 2
    assert sum(devices) > size_of(found.chat.model) > max(found.place.gpus)


def test_more_memory_buys_what_would_then_be_chosen() -> None:
    machine = MACHINES["16 GiB and a card of 8 GiB"]
    now = plan_set(KNOWN, machine, Wishes())
    better = upgrade(KNOWN, machine, Wishes(), now)
    assert better is not None
    assert now.chat is not None
    assert rank(better.model) > rank(now.chat.model)
    assert "12 GiB" in better.memory
    best = computer(512, card(141, 4800))
    assert upgrade(KNOWN, best, Wishes(), plan_set(KNOWN, best, Wishes())) is None


def test_where_nothing_fits_nothing_is_chosen_and_all_is_explained() -> None:
    found = plan_set(KNOWN, replace(computer(2), memory_available=1), Wishes())
    assert found.models == ()
    assert len(found.passed_over) == len(KNOWN.by_role("chat"))


@pytest.mark.parametrize("class_", ["4b", "7b", "13b", "30b"])
def test_only_the_class_that_was_asked_for_is_chosen(class_: str) -> None:
    found = plan_set(KNOWN, MACHINES["128 GiB and a card of 80 GiB"], Wishes(size_class=class_))
    assert found.chat is not None
    assert found.chat.model.family.size_class == class_


def test_a_licence_or_heads_that_need_a_word_of_the_admin_are_passed_over() -> None:
    machine = MACHINES["128 GiB and a card of 80 GiB"]
    only = Catalogue(tuple(model for model in KNOWN.models if model.family.id == "llama-2-7b"))
    found = plan_set(only, machine, Wishes())
    assert found.models == ()
    assert "licence" in found.passed_over[0].reason


def known(model_id: str) -> Model:
    """A model of the catalogue."""
    return KNOWN.get(model_id)


def test_windows_and_states_are_estimated_from_the_catalogue() -> None:
    kinds = [layer.cache for layer in estimate(known("gemma-4-12b-q4_k_m")).layers]
    assert kinds.count(Cache.FULL) == 8
    assert kinds[5] is Cache.FULL
    assert kinds[0] is Cache.WINDOW
    kinds = [layer.cache for layer in estimate(known("qwen3.5-9b-q4_k_m")).layers]
    assert (kinds.count(Cache.FULL), kinds.count(Cache.STATE)) == (8, 24)


def test_a_size_that_is_not_pinned_follows_from_parameters_and_bits() -> None:
    pinned, open_ = known("qwen3-8b-q6_k"), known("qwen3.5-9b-q5_k_m")
    assert size_of(pinned) == pinned.size
    assert 5.5e9 < size_of(open_) < 7e9


def test_a_file_that_is_here_is_planned_by_its_own_shape() -> None:
    text = (
        '[m]\ntitle = "M"\nrole = "chat"\nclass = "7b"\nlicence = "MIT"\ncommercial = true\nparameters = 7.0\n'
        "context = 8192\nlayers = 32\nembedding = 4096\nheads = 32\nkv_heads = 8\nhead_size = 128\nquality = 50\n"
        'quality_source = "none"\n'
        '[m.files.q4_0]\nsource = "hf:a/b@/c.gguf"\nsize = 4000000000\nsha256 = ""\nquantization = "Q4_0"\nbits = 4\n'
    )
    one = parse(text)
    machine: Hardware = computer(32, bandwidth=200)
    larger = replace(estimate(one.models[0]), file_size=9 * GIB)
    planned = plan_set(one, machine, Wishes()).chat
    with_file = plan_set(one, machine, Wishes(), {one.models[0].id: larger}).chat
    assert planned is not None
    assert with_file is not None
    assert with_file.alone < planned.alone
    assert with_file.need.mapped_bytes == 9 * GIB
