"""What was measured on this machine takes the place of what is reckoned, and only where it says something."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.catalog.models import Catalogue
from appliance.control.plan import catalogue
from appliance.hardware.facts import Hardware
from appliance.selector.memory import Load
from appliance.selector.places import host_taken
from appliance.selector.plan import Measured, Placement, SetPlan, Wishes, loads, plan_set
from docs.machines import card, computer

MODEL = catalogue().get("qwen3-8b-q4_k_m")
ONLY = Catalogue((MODEL,))
WISH = Wishes(seats=4, context=8192, floor=0)


def planned(machine: Hardware, measured: Measured | None = None, wishes: Wishes = WISH) -> SetPlan:
    """The plan of a machine for one model."""
    return plan_set(ONLY, machine, wishes, measured={MODEL.id: measured} if measured else {})


def placed(machine: Hardware, measured: Measured | None = None) -> Placement:
    """The model's placement, which must be one."""
    chat = planned(machine, measured).chat
    assert chat is not None
    return chat


def measured_as(found: Placement, *, faster: float = 1.0, larger: float = 1.0) -> Measured:
    """A measurement of a placement that came out differently."""
    size = sum(found.need.device_bytes) if found.on_gpu else found.need.host_bytes
    return Measured(found.load, found.on_gpu, size, int(size * larger), found.alone * faster, found.together * faster)


MACHINES = [computer(32), computer(32, card(12, 400))]


@pytest.mark.parametrize("machine", MACHINES, ids=["processor", "card"])
@pytest.mark.parametrize("faster", [0.3, 1.0, 2.0])
def test_for_the_load_that_was_measured_the_speed_is_what_was_measured(machine: Hardware, faster: float) -> None:
    before = placed(machine)
    found = placed(machine, measured_as(before, faster=faster))
    assert found.alone == pytest.approx(before.alone * faster)
    assert found.together == pytest.approx(before.together * faster)
    assert found.need == before.need


def test_for_another_load_the_estimate_keeps_its_form() -> None:
    before = placed(computer(32))
    known = measured_as(before, faster=0.5)
    shorter = replace(WISH, context=4096)
    reckoned, found = planned(computer(32), wishes=shorter).chat, planned(computer(32), known, shorter).chat
    assert reckoned is not None
    assert found is not None
    assert reckoned.alone > before.alone
    assert found.alone == pytest.approx(reckoned.alone * 0.5)


def test_a_model_that_was_too_slow_in_truth_is_passed_over_for_the_floor() -> None:
    before = placed(computer(32))
    wishes = replace(WISH, floor=before.alone * 0.9)
    found = planned(computer(32), measured_as(before, faster=0.5), wishes)
    assert [passed.model.id for passed in found.passed_over] == [MODEL.id]
    assert f"about {before.alone / 2:.1f} tokens a second" in found.passed_over[0].reason


@pytest.mark.parametrize("graphics", [False, True], ids=["processor", "card"])
def test_a_model_that_just_fitted_does_not_when_it_took_more_than_planned(graphics: bool) -> None:
    least = replace(WISH, context=4096)
    sizes = range(4, 16)
    machines = [computer(64, card(size, 400)) if graphics else computer(size) for size in sizes]
    fitting = next(one for one in machines if (chat := planned(one, wishes=least).chat) and chat.on_gpu is graphics)
    tight = planned(fitting, wishes=least).chat
    assert tight is not None
    found = planned(fitting, measured_as(tight, larger=1.5), least)
    assert found.chat is None or (graphics and not found.chat.on_gpu)


def test_a_model_that_took_more_gets_an_8_bit_cache_and_then_less_context() -> None:
    tight = computer(8)
    before = placed(tight)
    little, much = (placed(tight, measured_as(before, larger=larger)) for larger in (1.2, 1.3))
    assert before.load == Load(8192, 1)
    assert little.load == Load(8192, 1, "q8_0")
    assert much.load.context < 8192
    assert max(host_taken(little.need), host_taken(much.need)) <= planned(tight).place.host


def test_a_model_that_took_less_is_planned_as_before() -> None:
    before = placed(computer(16))
    assert placed(computer(16), measured_as(before, larger=0.5)) == before


def test_what_was_measured_on_the_processor_says_nothing_about_a_card_nor_the_other_way_round() -> None:
    on_processor, on_card = (placed(machine) for machine in MACHINES)
    assert (on_processor.on_gpu, on_card.on_gpu) == (False, True)
    slow_and_large = measured_as(on_processor, faster=0.1, larger=3.0)
    assert placed(MACHINES[1], slow_and_large) == on_card
    assert placed(MACHINES[0], measured_as(on_card, faster=0.1, larger=3.0)) == on_processor


def test_what_was_measured_of_one_model_says_nothing_about_another() -> None:
    known = {"another": measured_as(placed(computer(32)), faster=0.1, larger=3.0)}
    assert plan_set(ONLY, computer(32), WISH, measured=known) == planned(computer(32))


@given(context=st.integers(512, 200_000), slots=st.integers(1, 16), trained=st.sampled_from([0, 2048, 8192, 131_072]))
def test_loads_go_down_from_the_wish_to_the_least_context_and_try_both_ends(
    context: int, slots: int, trained: int
) -> None:
    found = list(loads(context, slots, trained))
    most = min(context, trained or context)
    assert found[:2] == [Load(most, slots), Load(most, slots, "q8_0")]
    assert found[-1] == Load(min(4096, most), slots, "q8_0")
    contexts = [load.context for load in found[1:]]
    assert contexts == sorted(set(contexts), reverse=True)
