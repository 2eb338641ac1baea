"""Who is served next by one engine with a few slots: fair between people, not between requests.

**Order.** Start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996). A flow is a person and a priority. A request's
start tag is max(virtual time when it came, finish tag of the flow's request before it), its finish tag is start +
tokens / weight. The lowest start tag is next, and virtual time is the highest start tag served, as with several servers
in SFQ(D) (Jin, Chase, Kaur: SIGMETRICS 2004), or the highest finish tag once nobody is here. A request is charged its
estimated tokens when it gets a slot and its real ones when it ends, and the tag of the flow's next one moves with it.
So tokens are shared, by weight, among the flows that always have a request waiting, and nobody saves up by staying
away.

**Headroom.** An engine cannot take a slot back in mid-answer, so slots are kept free ahead of need. A party is a person
with all their chat and api requests; the background and batch requests of everybody are one party together.

    first slot     A person who holds none gets the next free one, before all who hold one.
    further slots  A party that holds one gets another only if afterwards as many are free as people are expected: those
                   who wait and hold none, or hold none and asked or got an answer in the last `headroom_s`.
    background     and batch are never expected, and need that room for their first slot too. Once they have waited
                   `headroom_s` without a slot, they get one in their turn like a person.

**What follows.** (1) Who was expected finds a slot free at once, however much others ask for, while slots are more than
the people expected; only newcomers and the background's one slot can be in between. (2) With more people than slots
a greedy one holds one slot, like each of them. (3) Where nobody is expected, no slot is free while anything waits: a
lone person gets all of them, and a newcomer then waits for the first answer to end. (4) Nothing waits for ever: a
person without a slot is next but for lower tags, which are finitely many; the background comes `headroom_s` later.

Pure: `now` and deadlines are seconds of any one clock that never goes back. A change costs O(log n) comparisons with n
parties waiting; a request that finds a slot free searches nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from appliance.errors import ApplianceError
from appliance.policy.line import Entry, Flow, Listed, Party, State, in_order


class Priority(StrEnum):
    """What a request is for."""

    CHAT = "chat"
    API = "api"
    BACKGROUND = "background"
    BATCH = "batch"


# Tokens that one person gets at each priority while others ask too, relative to each other.
WEIGHTS: Final = {Priority.CHAT: 8, Priority.API: 4, Priority.BACKGROUND: 2, Priority.BATCH: 1}
_BEHIND: Final = frozenset({Priority.BACKGROUND, Priority.BATCH})

# How long a slot is held, in seconds, until one has been; and over how many requests the mean then runs.
_FIRST_GUESS_S: Final = 10.0
_MEAN_OVER: Final = 32

# A name of the module is found faster than a member of the class.
_RUNNING: Final = State.RUNNING


class FairScheduler:
    """Entries that hold the slots of one engine, and entries that wait for them.

    At most `most_waiting` entries wait, of which half may be background and batch, and at most `most_waiting_each` of
    one person at one priority. Each method that may give a slot to somebody returns those who got one.
    """

    def __init__(
        self, slots: int, *, most_waiting: int = 512, most_waiting_each: int = 128, headroom_s: float = 60.0
    ) -> None:
        self.slots, self.waiting, self.mean_held_s = slots, 0, _FIRST_GUESS_S
        self._most, self._most_each, self._headroom_s = most_waiting, most_waiting_each, headroom_s
        self._free = slots
        self._virtual = 0.0
        self._furthest = 0.0  # the highest finish tag there was: virtual time once nobody is here
        self._ended = 0
        self._numbers = 0
        self._flows: dict[tuple[str, Priority], Flow] = {}
        self._people: dict[str, Party] = {}
        self._behind = Party(None)
        self._behind_waiting = 0
        self._behind_since = math.inf  # since when the background waits and holds no slot
        self._sweep_at = 256
        # People who wait and hold no slot, and those who wait and hold one: by their lowest tag.
        self._first: list[Listed] = []
        self._further: list[Listed] = []
        # People who neither wait nor hold a slot, and until when they are expected: soonest first.
        self._away: OrderedDict[str, float] = OrderedDict()
        self._deadlines: list[tuple[float, int, Entry]] = []
        self._line: list[Entry] | None = None

    @property
    def running(self) -> int:
        """How many slots are held. More than `slots` only after there have become fewer."""
        return self.slots - self._free

    def ask(self, person: str, priority: Priority, tokens: int, deadline: float, now: float) -> Entry:
        """Ask for a slot: the entry runs at once, or waits. `tokens` is an estimate. Raises queue-full."""
        flow = self._flows.get((person, priority))
        if flow is None:
            flow = self._new_flow(person, priority, now)
        party = flow.party
        entry = Entry(flow, tokens if tokens > 0 else 1, deadline, now)
        # With a slot free nobody waits who holds none, so a person's first slot needs no look at the others.
        if self._free > 0 and (
            (party.held == 0 and party.person is not None) or (not self.waiting and self._free > self._expected(now))
        ):
            start = flow.finish if flow.finish > self._virtual else self._virtual
            self._virtual = start
            flow.finish = finish = start + entry.cost * flow.per_token
            if finish > self._furthest:
                self._furthest = finish
            if party.held == 0 and party.person is not None:
                self._away.pop(party.person, None)
            party.held += 1
            self._free -= 1
        else:
            self._wait(entry, now)
            # Others may be next by the time alone: they are left to `turn`, whose caller tells them.
            if self._next(now) is entry:
                self._start(entry, now)
        return entry

    def finish(self, entry: Entry, tokens: int, now: float) -> Sequence[Entry]:
        """Give a running entry's slot back; `tokens` is what it really took, 0 if the engine never worked on it."""
        assert entry.state is _RUNNING
        entry.state = State.ENDED
        flow = entry.flow
        party = flow.party
        flow.finish = finish = flow.finish + (tokens - entry.cost) * flow.per_token
        if finish > self._furthest:
            self._furthest = finish
        party.held -= 1
        self._free += 1
        if tokens:
            self._ended += 1
            self.mean_held_s += (now - entry.began_at - self.mean_held_s) / min(self._ended, _MEAN_OVER)
        if party.held == 0 and not party.heads and party.person is not None:
            self._away[party.person] = now + self._headroom_s
        if not self.waiting:
            if self._free == self.slots:
                self._virtual = self._furthest
            return ()
        self._line = None
        if party.held == 0 and party is self._behind and party.heads:
            self._behind_since = now
        self._lead(flow)
        return self._serve(now)

    def cancel(self, entry: Entry, now: float) -> Sequence[Entry]:
        """Take out an entry that waits."""
        assert entry.state is State.WAITING
        self._drop(entry, State.ENDED, now)
        return self._serve(now)

    def turn(self, now: float) -> tuple[Sequence[Entry], Sequence[Entry]]:
        """What time alone brings: entries that got a slot, and those whose deadline is over."""
        late = []
        while self._deadlines and self._deadlines[0][0] <= now:
            late.append(self._deadlines[0][2])
            self._drop(late[-1], State.LATE, now)
        return self._serve(now), late

    def next_turn(self) -> float | None:
        """When `turn` should be called, if nothing else happens before."""
        times = []
        if self._deadlines and self._deadlines[0][0] != math.inf:
            times.append(self._deadlines[0][0])
        if self._free > 0 and self.waiting:
            if self._away:
                times.append(next(iter(self._away.values())))
            if self._behind.heads and not self._behind.held:
                times.append(self._behind_since + self._headroom_s)
        return min(times, default=None)

    def resize(self, slots: int, now: float) -> Sequence[Entry]:
        """Change the number of slots. Who holds one that is gone keeps it to the end; with 0 nobody gets one."""
        self._free += slots - self.slots
        self.slots = slots
        self._line = None
        return self._serve(now)

    def line(self, now: float) -> Sequence[Entry]:
        """All who wait, in the order in which they would be served if nobody else came; tells each its place.

        `expected_s` reckons with slots that are held for `mean_held_s` each: with all slots for those who stand before,
        and with the slots that the person holds for what the same person has standing before.
        """
        if self._line is None:
            due = self._behind_since + self._headroom_s <= now
            parties = [*(party for _, _, party in (*self._first, *self._further)), self._behind]
            ready = [party.held == 0 and (party.person is not None or due) for party in parties]
            self._line = in_order(parties, ready, self.slots, self.mean_held_s)
        return self._line

    # Who is next.

    def _expected(self, now: float) -> int:
        """How many people may want a first slot: those who wait for one, and those who were here lately."""
        away = self._away
        while away:
            person, until = next(iter(away.items()))
            if until > now:
                break
            del away[person]
        return len(away) + len(self._first)

    def _next(self, now: float) -> Entry | None:
        """The entry that a free slot goes to, if there is one of each."""
        if self._free <= 0 or not self.waiting:
            return None
        roomy = self._free > self._expected(now)
        heads = [listed[0][2].heads[0] for listed in (self._first, self._further if roomy else []) if listed]
        behind = self._behind
        if behind.heads and (roomy or (behind.held == 0 and self._behind_since + self._headroom_s <= now)):
            heads.append(behind.heads[0])
        return min(heads)[2].queue[0] if heads else None

    def _serve(self, now: float) -> Sequence[Entry]:
        """Give free slots to those who may have them."""
        served = []
        while (entry := self._next(now)) is not None:
            self._start(entry, now)
            served.append(entry)
        return served

    def _start(self, entry: Entry, now: float) -> None:
        flow = entry.flow
        assert flow.head is not None
        start = flow.head[0]
        self._virtual = max(self._virtual, start)
        flow.finish = start + entry.cost * flow.per_token
        self._furthest = max(self._furthest, flow.finish)
        flow.party.held += 1
        self._free -= 1
        if flow.party is self._behind:
            self._behind_since = math.inf
        self._take_out(entry)
        entry.state, entry.began_at = _RUNNING, now

    # Who waits.

    def _new_flow(self, person: str, priority: Priority, now: float) -> Flow:
        if len(self._flows) >= self._sweep_at:
            self._sweep(now)
        party = self._behind if priority in _BEHIND else self._people.setdefault(person, Party(person))
        flow = self._flows[person, priority] = Flow(party, 1 / WEIGHTS[priority])
        return flow

    def _sweep(self, now: float) -> None:
        """Forget flows whose past no longer counts, and those of people who have not been here for a while."""
        self._expected(now)
        for (person, priority), flow in list(self._flows.items()):
            if not flow.party.held and not flow.queue and (flow.finish <= self._virtual or person not in self._away):
                del self._flows[person, priority]
        kept = {flow.party for flow in self._flows.values()}
        self._people = {person: party for person, party in self._people.items() if party in kept}
        self._sweep_at = max(256, 2 * len(self._flows))

    def _wait(self, entry: Entry, now: float) -> None:
        flow = entry.flow
        behind = flow.party is self._behind
        each = len(flow.queue) >= self._most_each
        if each or self.waiting >= self._most or (behind and self._behind_waiting >= self._most // 2):
            raise ApplianceError(
                "queue-full",
                f"{len(flow.queue) if each else self.waiting} requests wait for this model already"
                f"{', all of them yours' if each else ''}, and no more may.",
                "Wait until some of them are answered, then send it again.",
                retry_after_s=max(1, math.ceil((self.waiting + 1) * self.mean_held_s / max(self.slots, 1))),
            )
        self._numbers += 1
        entry.state, entry.number, entry.floor = State.WAITING, self._numbers, self._virtual
        flow.queue.append(entry)
        self.waiting += 1
        self._behind_waiting += behind
        insort(self._deadlines, (entry.deadline, entry.number, entry))
        if flow.party.person is not None:
            self._away.pop(flow.party.person, None)
        elif not flow.party.heads and not flow.party.held:
            self._behind_since = now
        self._line = None
        self._lead(flow)

    def _drop(self, entry: Entry, state: State, now: float) -> None:
        """Take out an entry that got no slot."""
        self._take_out(entry)
        entry.state, entry.began_at = state, now
        party = entry.flow.party
        if party is self._behind and not party.heads:
            self._behind_since = math.inf
        if party.person is not None and not party.heads and not party.held:
            self._away[party.person] = now + self._headroom_s

    def _take_out(self, entry: Entry) -> None:
        flow = entry.flow
        flow.queue.remove(entry)
        self.waiting -= 1
        self._behind_waiting -= flow.party is self._behind
        del self._deadlines[bisect_left(self._deadlines, (entry.deadline, entry.number, entry))]
        self._line = None
        self._lead(flow)

    def _lead(self, flow: Flow) -> None:
        """Put the flow's first entry, and with it its party, where they belong in the order."""
        party = flow.party
        head = None
        if flow.queue:
            entry = flow.queue[0]
            head = (max(entry.floor, flow.finish), entry.number, flow)
        if head != flow.head:
            if flow.head is not None:
                del party.heads[bisect_left(party.heads, flow.head)]
            if head is not None:
                insort(party.heads, head)
            flow.head = head
        if party is self._behind:
            return
        if party.listed is not None:
            where, item = party.listed
            del where[bisect_left(where, item)]
            party.listed = None
        if party.heads:
            where, item = self._further if party.held else self._first, (*party.heads[0][:2], party)
            insort(where, item)
            party.listed = where, item
