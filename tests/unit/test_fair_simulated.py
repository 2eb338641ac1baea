"""What comes of the fair queue for people, on an engine that is simulated."""

from __future__ import annotations

import pytest

from appliance.policy.fair import WEIGHTS, FairScheduler, Priority
from tests.support.fair_simulation import (
    FirstComeFirstServed,
    Lengths,
    Person,
    Simulation,
    WithoutHeadroom,
    all_day,
    by_person,
    equal,
    mixed,
    seven_and,
    shares,
)


@pytest.mark.parametrize("slots", [2, 4, 8])
@pytest.mark.parametrize("lengths", [equal, mixed])
def test_seven_with_one_request_each_hardly_notice_one_with_sixty_four(slots: int, lengths: Lengths) -> None:
    alone = seven_and(False, FairScheduler, slots, lengths)
    assert seven_and(True, FairScheduler, slots, lengths) <= 1.5 * alone
    assert seven_and(True, FirstComeFirstServed, slots, lengths) > 10 * alone


def test_headroom_is_what_keeps_the_eight_slots_open() -> None:
    alone = seven_and(False, FairScheduler, 8, mixed, spread_s=20.0)
    assert seven_and(True, FairScheduler, 8, mixed, spread_s=20.0) == alone
    assert seven_and(True, WithoutHeadroom, 8, mixed, spread_s=20.0) > 5 * alone


def test_seven_strangers_wait_for_first_answers_to_end_and_no_longer() -> None:
    assert seven_and(True, FairScheduler, 8, equal, known=False) <= 10.5 + 0.5


@pytest.mark.parametrize("slots", [2, 4, 8])
@pytest.mark.parametrize("parallel", [1, 2, 8])
def test_tokens_are_shared_evenly_among_eight_busy_people(slots: int, parallel: int) -> None:
    assert shares(FairScheduler, slots, parallel, [mixed] * 8) >= 0.97
    assert shares(FairScheduler, slots, parallel, [by_person(number) for number in range(8)]) >= 0.97


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_a_batch_beside_people_is_done_and_is_not_noticed(slots: int) -> None:
    alone, _ = all_day(None, FairScheduler, slots, 30.0)
    beside, tokens = all_day(
        Person("batch", 10**6, 64, lengths=mixed, priority=Priority.BATCH), FairScheduler, slots, 30.0
    )
    assert beside <= 1.1 * alone
    assert tokens > 5000


def test_tokens_are_shared_by_weight() -> None:
    people = [Person(name, 10**6, 3, lengths=mixed, priority=Priority(name)) for name in ("chat", "api")]
    seen = Simulation(FairScheduler(1), people, 1, 30_000.0).run()
    assert seen.tokens["chat"] / seen.tokens["api"] == pytest.approx(
        WEIGHTS[Priority.CHAT] / WEIGHTS[Priority.API], rel=0.05
    )
