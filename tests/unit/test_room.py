"""Where engines go on a machine, and which are refused before they are started."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.control.plan import catalogue
from appliance.control.room import Room
from appliance.errors import ApplianceError
from appliance.selector.choose import Choice
from appliance.selector.known import estimate
from docs.machines import card, computer

MODEL = catalogue().get("qwen3-8b-q4_k_m")
SHAPE = estimate(MODEL)


def test_a_model_that_fits_is_started_even_while_its_memory_is_taken() -> None:
    found = Room(computer(16), offloads=False).seat(SHAPE, Choice(MODEL, 8192, 2, 4))
    assert not found.on_gpu
    assert not found.off_gpu


@pytest.mark.parametrize(("memory", "context"), [(4, 4096), (16, 40960)])
def test_a_model_that_cannot_fit_is_refused_with_what_it_needs_and_what_there_is(memory: int, context: int) -> None:
    with pytest.raises(ApplianceError, match=r"needs .* GiB of memory, and this machine can give") as caught:
        Room(computer(memory), offloads=False).seat(SHAPE, Choice(MODEL, context, 4, 4))
    assert (caught.value.code, caught.value.kind.exit) == ("model-too-large", 3)


def test_all_engines_must_fit_together() -> None:
    room = Room(computer(12), offloads=False)
    room.seat(SHAPE, Choice(MODEL, 8192, 2, 4))
    with pytest.raises(ApplianceError) as caught:
        room.seat(SHAPE, Choice(MODEL, 8192, 2, 4))
    assert caught.value.code == "model-too-large"


def test_a_model_goes_to_the_card_as_a_whole_or_stays_off_it_with_a_reason() -> None:
    room = Room(computer(32, card(12, 400)), offloads=True)
    first, second = (room.seat(SHAPE, Choice(MODEL, 8192, 2, 4)) for _ in range(2))
    assert first.on_gpu
    assert first.need.device_bytes
    assert not second.on_gpu
    assert "of graphics memory" in second.off_gpu


def test_an_engine_without_code_for_the_card_says_so() -> None:
    found = Room(computer(32, card(12, 400)), offloads=False).seat(SHAPE, Choice(MODEL, 8192, 2, 4))
    assert not found.on_gpu
    assert "run the installer again" in found.off_gpu


def test_what_was_tuned_is_taken_only_where_there_is_room_for_it_too() -> None:
    choice = Choice(MODEL, 8192, 2, 4)
    tuned, too_much = replace(choice, kv="q8_0"), replace(choice, slots=16)
    room = Room(computer(32, card(12, 400)), offloads=True)
    assert room.better(SHAPE, tuned, choice) == tuned
    # It would leave the card, or not fit at all.
    assert room.better(SHAPE, too_much, choice) == choice
    assert Room(computer(12), offloads=False).better(SHAPE, too_much, choice) == choice
    assert room.seat(SHAPE, choice).on_gpu
