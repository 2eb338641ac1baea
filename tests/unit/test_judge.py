"""What a measurement means: which is an alarm, of what cause, and which comes first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.hardware.facts import Gpu, GpuUser, Hardware
from appliance.hardware.problems import problem
from appliance.proof.judge import ALARMS, LEAST_SPEED, Circumstances, judge
from appliance.proof.tables import Proof
from appliance.units import GIB, MIB
from docs.machines import card, computer
from tests.support.proofs import PID, on_card, proof

QUIET = Circumstances(computer(32))
CARD = card(12, 400)
ENGINE = GpuUser(PID, "llama-server", 6 * GIB)
GAME = GpuUser(77, "game", 8 * GIB)


def judged(now: Proof, base: Proof | None = None, around: Circumstances = QUIET) -> tuple[str, str]:
    """The alarm, which must be one that has words."""
    found = judge(now, base, around)
    assert found is not None
    code, cause = found
    assert code in ALARMS
    assert cause.endswith((".", "measure."))
    return code, cause


def beside(*gpus: Gpu, **how: Any) -> Circumstances:
    """A machine with these cards."""
    return Circumstances(computer(32, *gpus), **how)


@pytest.mark.parametrize("now", [proof(), on_card()], ids=["processor", "card"])
def test_what_is_as_planned_and_as_fast_as_before_is_no_alarm(now: Proof) -> None:
    assert judge(now, now, beside(CARD)) is None
    assert judge(now, None, beside(CARD)) is None


# The place.


def test_a_card_that_is_gone_is_told_in_the_words_of_its_driver() -> None:
    reason = problem("NVIDIA driver", "nvidia-driver-mismatch")
    gone = Circumstances(replace(computer(32), problems=(reason,)))
    for now in (on_card(offloaded=False, taken_gpu=0), proof(offloaded=None)):
        assert judged(now, on_card(), gone) == ("gpu-not-used", reason.reason)


def test_a_card_that_is_gone_without_a_word_is_said_to_be_gone() -> None:
    code, cause = judged(proof(), on_card())
    assert code == "gpu-not-used"
    assert "is gone" in cause


def test_graphics_in_the_processor_are_not_the_card_that_is_gone() -> None:
    _, cause = judged(proof(), on_card(), beside(replace(CARD, kind="integrated", memory_free=16 * GIB)))
    assert "is gone" in cause


def test_a_card_taken_by_another_program_names_it() -> None:
    taken = replace(CARD, memory_free=3 * GIB, users=(GAME, ENGINE))
    code, cause = judged(on_card(offloaded=False, taken_gpu=0, pid=501), None, beside(taken))
    assert code == "gpu-not-used"
    assert "3.0 GiB free and 6.0 GiB are needed" in cause
    assert "taken by game (process 77), llama-server" in cause


def test_a_card_taken_by_nobody_known_is_still_said_to_be_taken() -> None:
    _, cause = judged(on_card(offloaded=False), None, beside(replace(CARD, memory_free=GIB)))
    assert cause.endswith("its memory is taken.")


def test_of_two_cards_a_lost_one_is_the_cause() -> None:
    lost = problem("NVIDIA card 1", "gpu-lost")
    left = computer(32, replace(CARD, memory_free=GIB, users=(replace(ENGINE, bytes=GIB),)))
    _, cause = judged(on_card(offloaded=False), None, Circumstances(replace(left, problems=(lost,))))
    assert cause == lost.reason


def test_a_model_that_a_crowded_card_kept_on_the_processor_is_held_against_the_room_that_it_once_had() -> None:
    _, cause = judged(proof(offloaded=None), on_card(), beside(replace(CARD, memory_free=2 * GIB, users=(GAME,))))
    assert "6.0 GiB are needed" in cause


def test_a_card_with_room_that_was_not_used_points_to_the_log() -> None:
    code, cause = judged(on_card(offloaded=False, taken_gpu=0), None, beside(CARD))
    assert code == "gpu-not-used"
    assert cause.startswith("The card has room")
    assert "appliance logs" in cause


def test_what_the_engine_itself_holds_of_a_card_takes_no_room_from_it() -> None:
    half = replace(CARD, memory_free=4 * GIB, users=(replace(ENGINE, bytes=2 * GIB),))
    _, cause = judged(on_card(offloaded=False, taken_gpu=2 * GIB), None, beside(half))
    assert cause.startswith("The card has room")


def test_a_model_that_never_was_on_a_card_need_not_be() -> None:
    assert judge(proof(), proof(), beside(CARD)) is None
    assert judge(proof(), on_card(offloaded=False), beside(CARD)) is None


# The speed.


@pytest.mark.parametrize(("share", "alarm"), [(0.69, True), (0.71, False), (1.5, False)])
def test_less_than_70_percent_of_the_baseline_is_slow(share: float, alarm: bool) -> None:
    found = judge(proof(alone_speed=20.0 * share), proof(), QUIET)
    assert (found is not None and found[0] == "slow") is alarm


@given(before=st.floats(0.01, 10_000), share=st.floats(0, 2))
def test_slow_is_a_matter_of_the_baseline_alone(before: float, share: float) -> None:
    now = before * share
    assert (judge(proof(alone_speed=now), proof(alone_speed=before), QUIET) is not None) is (
        0 < now < LEAST_SPEED * before
    )


def test_without_a_baseline_or_a_measurement_nothing_is_slow() -> None:
    assert judge(proof(alone_speed=0.1), None, QUIET) is None
    assert judge(proof(alone_speed=0.0), proof(), QUIET) is None


SLOW = proof(alone_speed=10.0)
SLOW_ON_CARD = on_card(alone_speed=10.0)


def cause_of_slowness(now: Proof, around: Circumstances) -> str:
    """Why it is slow, without the speeds that are told first."""
    code, cause = judged(now, proof(), around)
    assert code == "slow"
    assert cause.startswith("10.0 tokens a second, 20.0 before: ")
    return cause.partition(": ")[2]


def test_slow_by_clocks_that_are_held_down() -> None:
    words = "the processor's clock is down to 800 of 3600 MHz."
    assert cause_of_slowness(SLOW, Circumstances(computer(32), clocks=words)) == words


def test_slow_by_another_program_on_the_card() -> None:
    shared = beside(replace(CARD, users=(ENGINE, GAME)))
    assert cause_of_slowness(SLOW_ON_CARD, shared) == "game (process 77) works on the graphics card too."
    assert "no cause" in cause_of_slowness(SLOW, shared), "a card is nothing to a model on the processor"
    assert "no cause" in cause_of_slowness(SLOW_ON_CARD, beside(replace(CARD, users=(ENGINE,))))


@pytest.mark.parametrize(("busy", "told"), [(2.1, True), (1.9, False)])
def test_slow_by_busy_cores_once_they_are_a_quarter(busy: float, told: bool) -> None:
    cause = cause_of_slowness(SLOW, Circumstances(computer(32), busy_cores=busy))
    assert (cause == "other programs keep 2.1 of 8 cores busy.") is told


def test_slow_because_it_is_run_in_another_way() -> None:
    cause = cause_of_slowness(proof(alone_speed=10.0, plan="with twice the context"), QUIET)
    assert "in another way" in cause
    assert "--baseline" in cause


def test_slow_without_a_cause_says_so() -> None:
    assert cause_of_slowness(SLOW, QUIET).startswith("no cause was found")


def test_the_surest_cause_of_slowness_is_told() -> None:
    other = on_card(alone_speed=10.0, plan="another")
    all_of_it = beside(replace(CARD, users=(GAME,)), clocks="too hot.", busy_cores=8.0)
    assert cause_of_slowness(other, all_of_it) == "too hot."
    assert "game" in cause_of_slowness(other, replace(all_of_it, clocks=""))
    assert "cores busy" in cause_of_slowness(other, beside(CARD, busy_cores=8.0))
    assert "another way" in cause_of_slowness(other, beside(CARD))


# The memory.


def test_a_tenth_more_memory_than_planned_is_too_much() -> None:
    assert judge(proof(taken_host=int(4.3 * GIB)), None, QUIET) is None
    code, cause = judged(proof(taken_host=5 * GIB))
    assert (code, cause) == ("memory-over-plan", "5.0 GiB of memory taken, 4.0 GiB planned.")


def test_too_much_memory_is_told_of_the_memory_that_it_is_taken_of() -> None:
    _, cause = judged(on_card(taken_gpu=7 * GIB, taken_host=MIB))
    assert cause == "7.0 GiB of graphics memory taken, 6.0 GiB planned."


def test_an_estimate_of_the_engine_may_differ_by_what_it_rounds() -> None:
    assert judge(proof(dry_context=527 * MIB), None, QUIET) is None
    assert judge(proof(planned_context=3 * MIB, dry_context=0), None, QUIET) is None
    for dry in (540 * MIB, 490 * MIB):
        code, cause = judged(proof(dry_context=dry))
        assert code == "plan-disagrees"
        assert f"{dry // MIB} MiB, and 512 MiB are planned" in cause


# Which comes first.


def test_the_place_comes_before_the_speed_before_the_memory_before_the_estimate() -> None:
    wrong: dict[str, Any] = {"offloaded": False, "alone_speed": 1.0, "taken_host": 9 * GIB, "dry_context": GIB}
    codes = []
    for mended in ({}, {"offloaded": True}, {"alone_speed": 20.0}, {"taken_host": GIB}):
        wrong |= mended
        codes.append(judged(on_card(**wrong), on_card(), beside(CARD))[0])
    assert codes == ["gpu-not-used", "slow", "memory-over-plan", "plan-disagrees"] == list(ALARMS)


@given(
    now=st.builds(
        on_card,
        offloaded=st.sampled_from([True, False, None]),
        alone_speed=st.floats(0, 100),
        taken_host=st.integers(0, 4 * GIB),
        taken_gpu=st.integers(0, 12 * GIB),
        dry_context=st.integers(0, GIB),
    ),
    base=st.none() | st.builds(on_card, alone_speed=st.floats(0, 100)),
    hardware=st.sampled_from([computer(32), computer(32, CARD), computer(32, replace(CARD, users=(GAME,)))]),
    clocks=st.sampled_from(["", "too hot."]),
    busy=st.floats(0, 8),
)
def test_every_alarm_has_words_and_a_cause(
    now: Proof, base: Proof | None, hardware: Hardware, clocks: str, busy: float
) -> None:
    found = judge(now, base, Circumstances(hardware, busy, clocks))
    if found is not None:
        assert found[0] in ALARMS
        assert found[1].endswith(".")


def test_a_card_that_was_not_planned_for_is_never_over_its_plan() -> None:
    assert judge(proof(planned_gpu=0, taken_gpu=300 * MIB), None, beside(CARD)) is None
