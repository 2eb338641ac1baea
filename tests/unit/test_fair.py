"""The fair queue's decisions: who gets a slot, when, and after whom."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.policy.fair import FairScheduler, Priority
from appliance.policy.line import Entry, State
from tests.support.fair_simulation import serve_all

CHAT, API, BACKGROUND, BATCH = Priority
BEHIND = (BACKGROUND, BATCH)
HEADROOM_S = 60.0


def ask(
    scheduler: FairScheduler, person: str, priority: Priority = CHAT, *, tokens: int = 100, now: float = 0.0
) -> Entry:
    return scheduler.ask(person, priority, tokens, math.inf, now)


def running(*entries: Entry) -> list[bool]:
    return [entry.state is State.RUNNING for entry in entries]


# Who is next.


def test_a_person_with_many_requests_does_not_delay_one_with_one() -> None:
    scheduler = FairScheduler(1)
    many = [ask(scheduler, "many") for _ in range(100)]
    one = ask(scheduler, "one")
    assert list(scheduler.finish(many[0], 100, 1.0)) == [one]


def test_one_after_the_other_where_all_have_many_waiting() -> None:
    scheduler = FairScheduler(1)
    entries = [ask(scheduler, person) for person in "aaabbbccc"]
    names = dict(zip(entries, "aaabbbccc", strict=True))
    assert "".join(names[entry] for entry in serve_all(scheduler, entries, 0.0)) == "bcabcabc"


def test_who_took_more_than_was_estimated_comes_later_and_who_took_less_sooner() -> None:
    for real, first in ((1000, "b"), (10, "a")):
        scheduler = FairScheduler(1)
        a = ask(scheduler, "a")
        ask(scheduler, "b", tokens=100)
        again = [ask(scheduler, "a"), ask(scheduler, "b")]
        (b,) = scheduler.finish(a, real, 1.0)
        (next_one,) = scheduler.finish(b, 100, 2.0)
        assert next_one is again["ab".index(first)]


def test_nobody_saves_up_by_staying_away() -> None:
    scheduler = FairScheduler(1)
    held = ask(scheduler, "a")
    for now in range(100):
        ask(scheduler, "ab"[(now + 1) % 2], now=now)
        (held,) = scheduler.finish(held, 100, now + 0.5)
    entries = [ask(scheduler, person, now=100) for person in ("a", "b", "new", "a", "b", "new")]
    order = serve_all(scheduler, [held, *entries], 100.0)
    assert sorted(map(entries.index, order[:3])) == [0, 1, 2]


def test_nobody_owes_for_what_they_took_while_nobody_else_was_there() -> None:
    scheduler = FairScheduler(1)
    scheduler.finish(ask(scheduler, "a", tokens=10), 8000, 100.0)
    entries = [ask(scheduler, person, now=700.0) for person in "xabab"]
    assert [entries.index(entry) for entry in serve_all(scheduler, entries, 700.0)] == [1, 2, 3, 4]


def test_who_took_very_much_comes_again_when_the_others_have_had_as_much() -> None:
    scheduler = FairScheduler(1)
    heavy = ask(scheduler, "heavy")
    others = {ask(scheduler, name): name for name in "vwxyz"}
    (held,) = scheduler.finish(heavy, 1000, 1.0)
    again = ask(scheduler, "heavy", now=1.0)
    answers = 0
    while again.state is State.WAITING:
        answers += 1
        name = others.pop(held)
        others[ask(scheduler, name, now=1.0 + answers)] = name
        (held,) = scheduler.finish(held, 100, 1.0 + answers)
    assert answers == 10 * 5


def test_a_request_that_the_engine_never_worked_on_costs_nothing_and_teaches_nothing() -> None:
    scheduler = FairScheduler(1)
    before = scheduler.mean_held_s
    a = ask(scheduler, "a", tokens=10_000)
    entries = [ask(scheduler, "a"), ask(scheduler, "b")]
    assert list(scheduler.finish(a, 0, 0.1)) == [entries[0]]
    assert scheduler.mean_held_s == before


# Headroom.


def test_a_lone_person_gets_all_slots() -> None:
    scheduler = FairScheduler(4)
    entries = [ask(scheduler, "lone") for _ in range(6)]
    assert running(*entries) == [True] * 4 + [False] * 2


def test_slots_are_kept_free_for_those_who_were_here_and_only_so_long() -> None:
    scheduler = FairScheduler(4, headroom_s=HEADROOM_S)
    for person in "xy":
        scheduler.finish(ask(scheduler, person), 50, 5.0)
    greedy = [ask(scheduler, "greedy", now=10.0) for _ in range(6)]
    assert running(*greedy) == [True, True] + [False] * 4
    x = ask(scheduler, "x", now=11.0)
    assert running(x) == [True]
    assert scheduler.next_turn() == 5.0 + HEADROOM_S
    assert not scheduler.turn(64.9)[0]
    assert list(scheduler.turn(65.0)[0]) == [greedy[2]]
    assert scheduler.next_turn() is None


def test_a_person_has_one_slot_however_many_are_expected() -> None:
    scheduler = FairScheduler(2)
    for number in range(7):
        scheduler.finish(ask(scheduler, f"one {number}"), 50, 1.0)
    assert running(*[ask(scheduler, "greedy", now=2.0) for _ in range(3)]) == [True, False, False]


def test_a_newcomer_gets_the_first_slot_that_ends() -> None:
    scheduler = FairScheduler(4)
    greedy = [ask(scheduler, "greedy", tokens=1) for _ in range(64)]
    newcomers = [ask(scheduler, name, tokens=5000) for name in "abc"]
    served = [entry for held in greedy[:3] for entry in scheduler.finish(held, 900, 1.0)]
    assert served == newcomers


@pytest.mark.parametrize("priority", BEHIND)
def test_background_work_is_not_expected(priority: Priority) -> None:
    scheduler = FairScheduler(2)
    scheduler.finish(ask(scheduler, "worker", priority), 50, 1.0)
    assert running(*[ask(scheduler, "lone", now=2.0) for _ in range(2)]) == [True, True]


@pytest.mark.parametrize("priority", BEHIND)
def test_background_work_leaves_the_last_slot_to_those_who_were_here_for_a_while(priority: Priority) -> None:
    scheduler = FairScheduler(1, headroom_s=HEADROOM_S)
    scheduler.finish(ask(scheduler, "anna"), 50, 1.0)
    batch = ask(scheduler, "worker", priority, now=2.0)
    now = 2.0
    while batch.state is State.WAITING:  # Anna asks every ten seconds, and is always expected.
        now += 10
        scheduler.finish(ask(scheduler, "anna", now=now), 50, now + 1)
        scheduler.turn(now + 1)
    assert now + 1 == pytest.approx(2.0 + HEADROOM_S, abs=10)


def test_background_work_of_many_people_has_one_slot_beyond_the_room() -> None:
    scheduler = FairScheduler(3, headroom_s=HEADROOM_S)
    for person in "abcd":
        scheduler.finish(ask(scheduler, person), 50, 1.0)
    batch = [ask(scheduler, f"worker {number}", BATCH, now=2.0) for number in range(3)]
    for person in "abcd":
        scheduler.finish(ask(scheduler, person, now=50.0), 50, 60.0)
    scheduler.turn(62.0)
    assert running(*batch) == [True, False, False]


def test_a_persons_own_batch_does_not_take_the_persons_slot() -> None:
    scheduler = FairScheduler(2)
    scheduler.finish(ask(scheduler, "anna"), 50, 1.0)
    batch = [ask(scheduler, "anna", BATCH, now=2.0) for _ in range(5)]
    assert running(*batch) == [True] + [False] * 4
    assert running(ask(scheduler, "anna", now=3.0)) == [True]


# Bounds, deadlines, sizes.


def test_a_full_line_refuses_at_once_and_says_when_to_come_again() -> None:
    scheduler = FairScheduler(2, most_waiting=4, most_waiting_each=3)
    for _ in range(5):
        ask(scheduler, "greedy")
    with pytest.raises(ApplianceError) as caught:
        ask(scheduler, "greedy")
    assert (caught.value.code, caught.value.kind.http) == ("queue-full", 503)
    assert caught.value.retry_after_s == 20  # three before it and itself, two at a time, 10 s each
    ask(scheduler, "anna")
    with pytest.raises(ApplianceError, match=r"4 requests wait for this model already, and no more may\."):
        ask(scheduler, "bert")
    assert scheduler.waiting == 4


def test_background_work_fills_half_of_the_line_and_no_more() -> None:
    scheduler = FairScheduler(1, most_waiting=4)
    for number in range(3):
        ask(scheduler, f"worker {number}", BATCH)
    with pytest.raises(ApplianceError):
        ask(scheduler, "another", BACKGROUND)
    ask(scheduler, "anna")
    ask(scheduler, "bert")
    assert scheduler.waiting == 4


def test_who_is_not_served_by_the_deadline_is_out() -> None:
    scheduler = FairScheduler(1)
    held = ask(scheduler, "a")
    late = scheduler.ask("b", CHAT, 10, 30.0, 1.0)
    patient = ask(scheduler, "c", now=2.0)
    assert scheduler.next_turn() == 30.0
    assert scheduler.turn(29.9) == ([], [])
    assert scheduler.turn(30.0) == ([], [late])
    assert late.state is State.LATE
    assert list(scheduler.finish(held, 10, 31.0)) == [patient]


def test_more_slots_are_given_at_once_and_fewer_as_answers_end() -> None:
    scheduler = FairScheduler(1)
    entries = [ask(scheduler, person) for person in "abcde"]
    assert list(scheduler.resize(3, 1.0)) == entries[1:3]
    assert not scheduler.resize(1, 2.0)
    assert not scheduler.finish(entries[0], 10, 3.0)
    assert scheduler.running == 2 > scheduler.slots
    assert not scheduler.finish(entries[1], 10, 3.0)
    assert list(scheduler.finish(entries[2], 10, 3.0)) == [entries[3]]
    assert not scheduler.resize(0, 4.0)
    assert not scheduler.finish(entries[3], 10, 5.0)
    assert list(scheduler.resize(1, 6.0)) == [entries[4]]


def test_what_people_did_long_ago_is_forgotten() -> None:
    scheduler = FairScheduler(1)
    for number in range(5000):
        scheduler.finish(ask(scheduler, f"p{number}", now=number), 100, number + 0.5)
    assert len(scheduler._flows) <= 600
    assert len(scheduler._people) <= 600
    assert len(scheduler._away) <= 600


def test_expected_waits_follow_how_long_slots_are_held() -> None:
    scheduler = FairScheduler(2)
    now = 0.0
    for _ in range(100):
        scheduler.finish(ask(scheduler, "a", now=now), 100, now + 3.0)
        now += 3.0
    assert scheduler.mean_held_s == pytest.approx(3.0)
    entries = [ask(scheduler, person, now=now + 100) for person in ("h", "i", "x", "y", "z", "z")]
    assert [entry.position for entry in scheduler.line(now + 100)] == [1, 2, 3, 4]
    assert [entry.expected_s for entry in entries[2:]] == pytest.approx([1.5, 3.0, 4.5, 6.0])


# Properties.


@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([CHAT, API]), st.integers(1, 500)), max_size=25),
)
def test_positions_are_the_order_of_service(slots: int, asked: list[tuple[str, Priority, int]]) -> None:
    """With slots that are held equally long and estimates that are right, nobody being expected back."""
    scheduler = FairScheduler(slots, headroom_s=0.0)
    holders = [ask(scheduler, f"holder {number}") for number in range(slots)]
    entries = [ask(scheduler, person, priority, tokens=tokens) for person, priority, tokens in asked]
    line = list(scheduler.line(0.0))
    assert sorted(entry.position for entry in entries) == [*range(1, len(entries) + 1)]
    held, order, now = holders, [], 0.0
    while held:
        now += 1
        first = held.pop(0)
        served = list(scheduler.finish(first, first.cost, now))
        held += served
        order += served
    assert order == line
