"""The fair queue's promises, held against any order of asking, ending, giving up, waiting and resizing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.errors import ApplianceError
from appliance.policy.fair import FairScheduler, Priority
from appliance.policy.line import Entry, State
from tests.support.fair_simulation import serve_all

BEHIND = (Priority.BACKGROUND, Priority.BATCH)
HEADROOM_S = 60.0


class AnyUse(RuleBasedStateMachine):
    """A scheduler, and what happened to it, kept a second time in a simple way."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = FairScheduler(3, most_waiting=12, most_waiting_each=5, headroom_s=HEADROOM_S)
        self.now = 0.0
        self.entries: dict[Entry, tuple[str, Priority]] = {}
        self.here: dict[str, float] = {}  # when a person last asked or was done
        self.allowed = 3  # slots, or holders where there are more after slots have become fewer

    def of(self, state: State) -> list[Entry]:
        return [entry for entry in self.entries if entry.state is state]

    def party(self, entry: Entry) -> str | None:
        person, priority = self.entries[entry]
        return None if priority in BEHIND else person

    def expected(self) -> int:
        """Counted anew, from what happened."""
        holding = {self.party(entry) for entry in self.of(State.RUNNING)}
        waiting = {self.party(entry) for entry in self.of(State.WAITING)} - {None}
        lately = {person for person, at in self.here.items() if at + HEADROOM_S > self.now}
        return len((waiting | lately) - holding)

    def served(self, entries: Sequence[Entry]) -> None:
        """Whoever just got a slot."""
        for entry in entries:
            assert entry.state is State.RUNNING
        parties = [self.party(entry) for entry in self.of(State.RUNNING)]
        free = self.scheduler.slots - len(parties)
        for entry in entries:
            if parties.count(self.party(entry)) > 1:
                assert free >= self.expected(), "a further slot without the room for it"

    def tick(self) -> None:
        self.served(self.scheduler.turn(self.now)[0])

    @rule(
        person=st.sampled_from("abcde"), priority=st.sampled_from(Priority), tokens=st.integers(0, 900),
        patience=st.sampled_from([5.0, 50.0, math.inf]),
    )  # fmt: skip
    def ask(self, person: str, priority: Priority, tokens: int, patience: float) -> None:
        before = self.of(State.WAITING)
        try:
            entry = self.scheduler.ask(person, priority, tokens, self.now + patience, self.now)
        except ApplianceError:
            own = [other for other in before if self.entries[other] == (person, priority)]
            behind = [other for other in before if self.entries[other][1] in BEHIND]
            assert len(before) == 12 or len(own) == 5 or (priority in BEHIND and len(behind) == 6)
            return
        self.entries[entry] = (person, priority)
        if priority not in BEHIND:
            self.here[person] = self.now
        if entry.state is State.RUNNING:
            self.served([entry])

    @precondition(lambda self: self.of(State.RUNNING))
    @rule(data=st.data(), tokens=st.integers(0, 2000))
    def finish(self, data: st.DataObject, tokens: int) -> None:
        entry = data.draw(st.sampled_from(self.of(State.RUNNING)))
        if (party := self.party(entry)) is not None:
            self.here[party] = self.now
        self.served(self.scheduler.finish(entry, tokens, self.now))

    @precondition(lambda self: self.of(State.WAITING))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.of(State.WAITING)))
        if (party := self.party(entry)) is not None:
            self.here[party] = self.now
        self.served(self.scheduler.cancel(entry, self.now))
        assert entry.state is State.ENDED

    @rule(seconds=st.sampled_from([0.5, 4.0, 20.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for entry in self.of(State.WAITING):
            party = self.party(entry)
            if entry.deadline <= self.now and party is not None:
                self.here[party] = self.now
        self.tick()
        assert all(entry.deadline > self.now for entry in self.of(State.WAITING))

    @rule(slots=st.integers(0, 5))
    def resize(self, slots: int) -> None:
        self.allowed = max(slots, len(self.of(State.RUNNING)))
        self.served(self.scheduler.resize(slots, self.now))

    @invariant()
    def counts_are_right(self) -> None:
        running, waiting = self.of(State.RUNNING), self.of(State.WAITING)
        self.allowed = max(self.scheduler.slots, min(self.allowed, len(running)))
        assert len(running) == self.scheduler.running <= self.allowed
        assert len(waiting) == self.scheduler.waiting <= 12
        line = self.scheduler.line(self.now)
        assert set(line) == set(waiting)
        assert [entry.position for entry in line] == [*range(1, len(waiting) + 1)]
        assert self.scheduler._expected(self.now) == self.expected()

    @invariant()
    def no_slot_is_free_without_a_reason(self) -> None:
        free = self.scheduler.slots - self.scheduler.running
        waiting = self.of(State.WAITING)
        if free > 0 and waiting:
            holding = {self.party(entry) for entry in self.of(State.RUNNING)}
            assert all(self.party(entry) in holding or self.entries[entry][1] in BEHIND for entry in waiting)
            assert self.expected() >= free
            turn_at = self.scheduler.next_turn()
            assert turn_at is not None
            assert turn_at <= self.now + HEADROOM_S

    def teardown(self) -> None:
        """Everybody who still waits is served in the end, and nothing is left over."""
        self.served(self.scheduler.resize(max(1, self.scheduler.slots), self.now))
        patient = [entry for entry in self.of(State.WAITING) if entry.deadline == math.inf]
        order = serve_all(self.scheduler, [*self.entries], self.now)
        assert set(patient) <= set(order)
        assert (self.scheduler.running, self.scheduler.waiting) == (0, 0)
        assert not self.scheduler._first
        assert not self.scheduler._further
        assert not self.scheduler._behind.heads
        assert not self.scheduler._deadlines


TestAnyUse = AnyUse.TestCase
