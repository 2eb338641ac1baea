"""An engine with a few slots, simulated: who waits how long behind whom. python -m tests.support.fair_simulation"""

from __future__ import annotations

import functools
import heapq
import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from appliance.policy.fair import FairScheduler, Priority
from appliance.policy.line import Entry, State

TOKENS_A_SECOND = 50.0
# From getting a slot to the first token, in seconds: the prompt is read.
READING_S = 0.5
# Nobody knows how long an answer will be: the estimate is the same for all.
ESTIMATE = 400

Lengths = Callable[[random.Random], int]


def equal(_: random.Random) -> int:
    """Answers of 500 tokens: 10 s."""
    return 500


def mixed(chance: random.Random) -> int:
    """Answers of 25 to 2,000 tokens, 300 in the middle."""
    return max(25, min(2000, int(chance.lognormvariate(5.7, 1.0))))


class FirstComeFirstServed(FairScheduler):
    """What a queue without fairness does, for comparison: one flow for everybody."""

    def ask(self, person: str, priority: Priority, tokens: int, deadline: float, now: float) -> Entry:
        return super().ask("everybody", Priority.CHAT, tokens, deadline, now)


class WithoutHeadroom(FairScheduler):
    """Fair queueing alone: nobody is expected."""

    def _expected(self, now: float) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class Person:
    """Asks `count` times from `first_at` s on, `parallel` at once, and thinks `think_s` s on average in between."""

    name: str
    count: int
    parallel: int = 1
    first_at: float = 0.0
    think_s: float = 0.0
    lengths: Lengths = equal
    priority: Priority = Priority.CHAT


@dataclass(slots=True)
class Seen:
    """What came of it: times to first token in seconds and tokens by person, and who was served in turn."""

    first_token_s: dict[str, list[float]] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)

    def of(self, prefix: str) -> list[float]:
        """All times to first token of the people whose names begin so."""
        return [one for name, times in self.first_token_s.items() if name.startswith(prefix) for one in times]


@dataclass(slots=True)
class _Asked:
    person: Person
    at: float
    tokens: int


class Simulation:
    """Events in the order of time: somebody asks, an answer ends, the scheduler's own turn."""

    def __init__(self, scheduler: FairScheduler, people: Sequence[Person], seed: int, until_s: float = 1e9) -> None:
        self.scheduler, self.seen = scheduler, Seen()
        self._until_s = until_s
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        self._asked: dict[Entry, _Asked] = {}
        self._left = {person.name: person.count for person in people}
        for person in people:
            for _ in range(min(person.parallel, person.count)):
                self._ask_at(person.first_at, person)

    def run(self) -> Seen:
        """Everything until nothing is left to happen, or the time is over: then tokens are counted as they are."""
        now, turn_at = 0.0, math.inf
        while (self._events or turn_at < math.inf) and now <= self._until_s:
            if self._events and self._events[0][0] <= turn_at:
                now, _, happen = heapq.heappop(self._events)
                happen(now)
            else:
                now = turn_at
                self._begin(self.scheduler.turn(now)[0], now)
            assert self.scheduler.running <= self.scheduler.slots
            turn_at = self.scheduler.next_turn() or math.inf
        for entry, asked in self._asked.items():
            if entry.state is State.RUNNING:
                self.seen.tokens[asked.person.name] += int((now - entry.began_at) * TOKENS_A_SECOND)
        return self.seen

    def _at(self, when: float, happen: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (when, self._number, happen))

    def _ask_at(self, when: float, person: Person) -> None:
        if self._left[person.name]:
            self._left[person.name] -= 1
            self._at(when, lambda now: self._ask(person, now))

    def _ask(self, person: Person, now: float) -> None:
        entry = self.scheduler.ask(person.name, person.priority, ESTIMATE, math.inf, now)
        self._asked[entry] = _Asked(person, now, person.lengths(self._chance))
        if entry.state is State.RUNNING:
            self._begin([entry], now)

    def _begin(self, entries: Sequence[Entry], now: float) -> None:
        for entry in entries:
            asked = self._asked[entry]
            self.seen.order.append(asked.person.name)
            self.seen.first_token_s.setdefault(asked.person.name, []).append(now - asked.at + READING_S)
            self._at(now + READING_S + asked.tokens / TOKENS_A_SECOND, functools.partial(self._end, entry))

    def _end(self, entry: Entry, now: float) -> None:
        asked = self._asked.pop(entry)
        person = asked.person
        self.seen.tokens[person.name] += asked.tokens
        self._begin(self.scheduler.finish(entry, asked.tokens, now), now)
        think_s = self._chance.expovariate(1 / person.think_s) if person.think_s else 0.0
        self._ask_at(now + think_s, person)


def serve_all(scheduler: FairScheduler, entries: Sequence[Entry], now: float, hold_s: float = 1.0) -> list[Entry]:
    """Let every entry have its slot for a while, oldest first; those who waited, in the order of their service."""
    held = [entry for entry in entries if entry.state is State.RUNNING]
    order: list[Entry] = []
    while held or scheduler.waiting:
        now += hold_s
        served = list(scheduler.finish(held.pop(0), 100, now)) if held else []
        turn_at = scheduler.next_turn()
        if not held and not served:
            assert turn_at is not None or not scheduler.waiting, "nobody is served, and nothing will change that"
            now = max(now, turn_at or now)
        served += scheduler.turn(now)[0]
        held += served
        order += served
    return order


def jain(shares: Sequence[float]) -> float:
    """Jain's index: 1 where all shares are equal, 1/n where one has all."""
    return sum(shares) ** 2 / len(shares) / sum(share * share for share in shares)


def p95(times: Sequence[float]) -> float:
    """The smallest value that 95 % of them do not exceed."""
    return sorted(times)[math.ceil(len(times) * 0.95) - 1]


def seven_and(
    greedy: bool, scheduler: Callable[[int], FairScheduler], slots: int, lengths: Lengths,
    *, seeds: int = 20, known: bool = True, spread_s: float = 0.0,
) -> float:  # fmt: skip
    """p95 of the time to first token, in seconds, of seven who ask once each.

    They ask 5 to 5 + `spread_s` seconds after the greedy one, if there is one, has asked 64 times. `known`: each has
    asked before, a little while ago.
    """
    times = []
    for seed in range(seeds):
        engine, chance = scheduler(slots), random.Random(-seed)
        names = [f"one {number}" for number in range(7)]
        for name in names if known else ():
            engine.finish(engine.ask(name, Priority.CHAT, ESTIMATE, math.inf, -20.0), 100, -18.0)
        people = [Person(name, 1, 1, 5 + chance.random() * spread_s, lengths=lengths) for name in names]
        if greedy:
            people.append(Person("greedy", 64, 64, lengths=lengths))
        times += Simulation(engine, people, seed).run().of("one")
    return p95(times)


def all_day(
    other: Person | None, scheduler: Callable[[int], FairScheduler], slots: int, think_s: float, until_s: float = 4000.0
) -> tuple[float, int]:
    """Seven who ask, read and think, beside another: their p95 in seconds, and the other's tokens."""
    people = [Person(f"one {number}", 10**6, 1, number, think_s, mixed) for number in range(7)]
    seen = Simulation(scheduler(slots), [*people, *([other] if other else [])], 1, until_s).run()
    return p95(seen.of("one")), seen.tokens[other.name] if other else 0


def shares(scheduler: Callable[[int], FairScheduler], slots: int, parallel: int, lengths: Sequence[Lengths]) -> float:
    """Jain's index of the tokens that people got who always have `parallel` requests under way."""
    people = [Person(f"p{n}", 10**6, parallel, lengths=own) for n, own in enumerate(lengths)]
    seen = Simulation(scheduler(slots), people, 1, 3000.0).run()
    return jain([seen.tokens[person.name] for person in people])


RULES: tuple[Callable[[int], FairScheduler], ...] = (FairScheduler, WithoutHeadroom, FirstComeFirstServed)


def by_person(number: int) -> Lengths:
    """Answers that are always as long as their person's: 100 to 800 tokens."""
    return lambda _: 100 * (number + 1)


def long_or_short(number: int) -> Lengths:
    """Answers of 1,000 tokens for every other person, of 100 for the rest."""
    return lambda _: 100 if number % 2 else 1000


def main() -> None:
    """Print the figures of docs/decisions/0015-fair-queue.md."""
    print("p95 of seven, s: alone | headroom, without, first come first served; strangers with headroom")
    for lengths, spread_s in ((equal, 0.0), (mixed, 0.0), (equal, 20.0), (mixed, 20.0)):
        for slots in (2, 4, 8):
            alone = seven_and(False, FairScheduler, slots, lengths, spread_s=spread_s, seeds=60)
            beside = [seven_and(True, rule, slots, lengths, spread_s=spread_s, seeds=60) for rule in RULES]
            beside.append(seven_and(True, FairScheduler, slots, lengths, spread_s=spread_s, known=False, seeds=60))
            print(
                f"{lengths.__name__} {spread_s} {slots}: {alone:.1f} |", *(f"{p:.1f}/{p / alone:.2f}" for p in beside)
            )
    print("all day, thinking 30 s, p95 s/tokens of the other: nobody | greedy | batch | greedy without headroom")
    for slots in (1, 2, 4, 8):
        greedy = Person("greedy", 10**6, 64, lengths=mixed)
        batch = Person("batch", 10**6, 64, lengths=mixed, priority=Priority.BATCH)
        cases = ((None, FairScheduler), (greedy, FairScheduler), (batch, FairScheduler), (greedy, WithoutHeadroom))
        print(slots, *("{:.1f}/{}".format(*all_day(other, rule, slots, 30.0)) for other, rule in cases))
    print("Jain's index of eight busy people, by slots and requests under way: mixed, by person, long or short")
    kinds = ([mixed] * 8, [by_person(number) for number in range(8)], [long_or_short(number) for number in range(8)])
    for slots in (2, 4, 8):
        for parallel in (1, 2, 8):
            for rule in RULES:
                indices = (f"{shares(rule, slots, parallel, lengths):.3f}" for lengths in kinds)
                print(slots, parallel, rule.__name__, *indices)


if __name__ == "__main__":
    main()
