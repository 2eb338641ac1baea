"""How a chosen model is made to fit beside the engines that stay."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.fitting import fits_beside, fitted, without
from appliance.control.plan import catalogue
from appliance.control.room import Room
from appliance.control.running import Planned
from appliance.engine.arguments import EnginePlan
from appliance.errors import ApplianceError
from appliance.hardware.facts import GpuUser, Hardware
from appliance.selector.choose import Choice
from appliance.selector.known import estimate
from appliance.selector.places import free_place
from appliance.units import GIB
from docs.machines import card, computer

MODEL = catalogue().get("qwen3-8b-q4_k_m")
SHAPE = estimate(MODEL)
WISH = Choice(MODEL, 16384, 2, 4)


def engine(room: int, gpu: int = 0) -> Planned:
    """An engine that takes so much of the host's memory and of the cards'."""
    plan = EnginePlan("small", "s", "/s.gguf", "/small.sock", context=4096, slots=1, threads=4, on_gpu=bool(gpu))
    return Planned("small", plan, host=room, room=room, gpu=gpu, context=0, compute=0)


def fit(hardware: Hardware, *others: Planned, wish: Choice = WISH, offloads: bool = True) -> Choice:
    """The wish as it fits."""
    return fitted(SHAPE, wish, hardware, others, offloads=offloads)


def refusal(hardware: Hardware, *others: Planned, wish: Choice = WISH) -> str:
    """Why nothing of the wish fits."""
    with pytest.raises(ApplianceError) as caught:
        fit(hardware, *others, wish=wish)
    assert caught.value.code == "model-too-large"
    return caught.value.sentence


def on_gpu(hardware: Hardware, choice: Choice) -> bool:
    """Whether a choice goes to the cards."""
    return Room(hardware, offloads=True).seat(SHAPE, choice).on_gpu


@pytest.mark.parametrize("machine", [computer(16), computer(16, card(12, 400)), computer(64, card(24, 900))])
def test_a_wish_that_fits_is_granted_as_it_is(machine: Hardware) -> None:
    assert fit(machine) == WISH
    assert on_gpu(machine, WISH) is bool(machine.gpus)


def test_the_cache_goes_to_8_bits_before_the_context_shrinks_before_it_is_refused() -> None:
    found = [fit(computer(memory)) for memory in (11, 9, 8, 7)]
    assert [(one.context, one.kv) for one in found] == [
        (16384, "f16"),
        (16384, "q8_0"),
        (9216, "q8_0"),
        (4096, "q8_0"),
    ]
    assert all(replace(one, context=WISH.context, kv="f16") == WISH for one in found), "nothing else was changed"
    assert "2 x 4096 tokens needs 5.4 GiB" in refusal(computer(6))


def test_8_bits_that_were_wished_for_stay() -> None:
    wish = replace(WISH, kv="q8_0")
    assert fit(computer(32), wish=wish) == wish
    assert fit(computer(8), wish=wish).kv == "q8_0"


def test_no_more_context_than_the_model_was_trained_for() -> None:
    assert fit(computer(64), wish=replace(WISH, context=10**6)).context == MODEL.context


def test_a_context_below_what_shrinking_ends_at_is_kept() -> None:
    assert fit(computer(16), wish=replace(WISH, context=600)).context == 600
    assert "2 x 600 tokens" in refusal(computer(4), wish=replace(WISH, context=600))


def test_less_context_on_a_card_is_better_than_all_of_it_on_the_processor() -> None:
    machine = computer(64, card(8, 448))
    found = fit(machine)
    assert on_gpu(machine, found)
    assert (4096 <= found.context < WISH.context, found.kv) == (True, "q8_0")
    assert not on_gpu(machine, WISH)


@pytest.mark.parametrize(
    ("machine", "offloads"), [(computer(64, card(5, 448)), True), (computer(64, card(8, 448)), False)]
)
def test_a_card_that_is_too_small_or_of_no_use_costs_no_context(machine: Hardware, offloads: bool) -> None:
    assert fit(machine, offloads=offloads) == WISH


def test_the_room_of_the_others_counts() -> None:
    assert fit(computer(16), engine(GIB)) == WISH
    assert fit(computer(16), engine(4 * GIB), engine(3 * GIB)).kv == "q8_0"
    assert "can give 3.5 GiB" in refusal(computer(16), engine(11 * GIB))
    assert "can give 0 bytes" in refusal(computer(16), engine(99 * GIB))


MEMORY = st.integers(2 * GIB, 64 * GIB)


@given(
    memory=MEMORY,
    cards=st.lists(st.integers(4, 24), max_size=2),
    others=st.lists(st.builds(engine, st.integers(0, 8 * GIB)), max_size=2),
    wish=st.builds(
        Choice,
        st.just(MODEL),
        context=st.integers(512, 65536),
        slots=st.integers(1, 8),
        threads=st.just(4),
        kv=st.sampled_from(["f16", "q8_0"]),
    ),
    offloads=st.booleans(),
)
def test_whatever_is_returned_fits_and_is_no_more_than_was_wished_for(
    memory: int, cards: list[int], others: list[Planned], wish: Choice, offloads: bool
) -> None:
    machine = replace(computer(1, *(card(size, 500) for size in cards)), memory=memory, memory_available=memory)
    taken = sum(one.room for one in others)
    try:
        found = fit(machine, *others, wish=wish, offloads=offloads)
    except ApplianceError:
        least = replace(wish, context=min(wish.context, 4096), kv="q8_0")
        with pytest.raises(ApplianceError):
            Room(replace(machine, gpus=()), offloads=False, taken=taken).seat(SHAPE, least)
        return
    room = Room(machine, offloads=offloads, taken=taken)
    room.seat(SHAPE, found)
    assert room.left.host >= 0
    assert all(free >= 0 for free in room.left.gpus)
    assert found.context <= min(wish.context, MODEL.context)
    assert (found.model, found.slots, found.threads) == (wish.model, wish.slots, wish.threads)
    assert found.kv == wish.kv or (wish.kv, found.kv) == ("f16", "q8_0")


# What the old model holds while it still runs.


def test_what_an_ended_process_held_of_the_cards_is_free_again() -> None:
    ours, theirs = GpuUser(1, "llama-server", 5 * GIB), GpuUser(2, "game", GIB)
    gpu = replace(card(12, 400), memory_free=4 * GIB, users=(ours, theirs))
    (first, second) = without(computer(32, gpu, card(8, 400)), engine(0), {1, 99}).gpus
    assert (first.memory_free, first.users) == (9 * GIB, (theirs,))
    assert (second.memory_free, second.users) == (card(8, 400).memory_free, ())


def test_what_is_freed_is_never_more_than_there_is_nor_reckoned_where_it_is_not_told() -> None:
    gpu = replace(card(8, 400), memory_free=4 * GIB, users=(GpuUser(1, "a", 6 * GIB), GpuUser(2, "b", None)))
    machine = computer(32, gpu)
    assert without(machine, engine(0), {1}).gpus[0].memory_free == 8 * GIB
    assert without(machine, engine(0), {2}).gpus[0].memory_free == 4 * GIB
    assert without(machine, engine(0), set()) == machine


def test_where_the_driver_does_not_say_who_holds_what_it_is_what_was_planned() -> None:
    used = replace(card(12, 400), memory_free=4 * GIB, users=(GpuUser(1, "", None),))
    both = computer(32, used, used)
    assert [gpu.memory_free for gpu in without(both, engine(GIB, 6 * GIB), {1}).gpus] == [7 * GIB, 7 * GIB]
    # In a container it tells other numbers of processes.
    assert [gpu.memory_free for gpu in without(both, engine(GIB, 6 * GIB), {17}).gpus] == [7 * GIB, 7 * GIB]
    assert [gpu.memory_free for gpu in without(both, engine(GIB), {17}).gpus] == [4 * GIB, 4 * GIB]


def test_a_model_that_a_card_has_no_room_for_beside_the_old_one_has_it_without() -> None:
    old = GpuUser(1, "llama-server", 9 * GIB)
    full = computer(64, replace(card(12, 400), memory_free=2 * GIB, users=(old,)))
    assert not on_gpu(full, fit(full))
    free = without(full, engine(0), {1})
    assert on_gpu(free, fit(free))


def test_two_run_beside_each_other_only_where_each_memory_has_room_now() -> None:
    machine = computer(16, card(12, 400))
    place = free_place(machine)
    assert fits_beside(engine(place.host), machine)
    assert not fits_beside(engine(place.host + 1), machine)
    assert fits_beside(engine(GIB, sum(place.gpus)), machine)
    assert not fits_beside(engine(GIB, sum(place.gpus) + 1), machine)
    assert not fits_beside(engine(GIB), replace(machine, memory_available=GIB - 1)), "what others take now counts"
    assert fits_beside(engine(GIB), replace(machine, gpus=())), "a model on the processor needs no card"
