"""Who waits for a slot of an engine, and in which order they would be served: the values of `policy.fair`."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from enum import Enum


class State(Enum):
    """Where an entry stands."""

    WAITING = "waiting"
    RUNNING = "running"  # holds a slot
    ENDED = "ended"  # has given its slot back, or stopped waiting
    LATE = "late"  # was not served by its deadline


class Party:
    """A person with all that they ask for, or all background work: what the headroom counts by."""

    __slots__ = ("heads", "held", "listed", "person")

    def __init__(self, person: str | None) -> None:
        self.person = person  # None for the background
        self.held = 0
        self.heads: list[tuple[float, int, Flow]] = []  # start tag and number of each flow's first entry, sorted
        self.listed: tuple[list[Listed], Listed] | None = None  # where the lowest stands in the scheduler's lists


Listed = tuple[float, int, Party]


class Flow:
    """A person's requests of one priority."""

    __slots__ = ("finish", "head", "party", "per_token", "queue")

    def __init__(self, party: Party, per_token: float) -> None:
        self.party = party
        self.per_token = per_token  # virtual time for one token: 1 / weight
        self.finish = 0.0  # finish tag of what was served last
        self.queue: deque[Entry] = deque()
        self.head: tuple[float, int, Flow] | None = None  # as it stands in party.heads


class Entry:
    """One request. `position` (from 1) and `expected_s` are as of the last call of `FairScheduler.line`."""

    __slots__ = ("began_at", "cost", "deadline", "expected_s", "floor", "flow", "number", "position", "state")

    def __init__(self, flow: Flow, cost: int, deadline: float, now: float) -> None:
        self.flow = flow
        self.cost = cost  # estimated tokens
        self.deadline = deadline
        self.state = State.RUNNING
        self.began_at = now  # when it got its slot, or left without one
        self.floor = 0.0  # virtual time when it came
        self.number = 0  # in the order in which those who wait came
        self.position = 0
        self.expected_s = 0.0


def in_order(parties: Sequence[Party], ready: Sequence[bool], slots: int, mean_held_s: float) -> list[Entry]:
    """All entries of some parties in the order of service, each told its place; `ready`: may get the next free slot.

    Played through with slots that are held equally long: who gets one is ready for another `slots` entries later, and
    before that only if nobody is ready.
    """
    own = [_tagged(party) for party in parties]
    now = [(*own[at][0][:2], at) for at in range(len(parties)) if own[at] and ready[at]]
    later = [(max(slots - 1, 0), *own[at][0][:2], at) for at in range(len(parties)) if own[at] and not ready[at]]
    heapq.heapify(now)
    before = [1 if party.held else 0 for party in parties]
    line: list[Entry] = []
    while now or later:
        coming = [one for one in later if one[0] <= len(line)]
        if not now and not coming:
            coming = [min(later, key=lambda one: one[1:])]
        for one in coming:
            later.remove(one)
            heapq.heappush(now, one[1:])
        _, _, at = heapq.heappop(now)
        entry = own[at].popleft()[2]
        line.append(entry)
        entry.position = len(line)
        turns = max(entry.position / max(slots, 1), before[at] / max(parties[at].held, 1))
        entry.expected_s = turns * mean_held_s
        before[at] += 1
        if own[at]:
            later.append((len(line) - 1 + max(slots, 1), *own[at][0][:2], at))
    return line


def _tagged(party: Party) -> deque[tuple[float, int, Entry]]:
    """What a party has waiting, by the start tag that it will have."""
    tagged = []
    for tag, _, flow in party.heads:
        for entry in flow.queue:
            tagged.append((tag, entry.number, entry))
            tag += entry.cost * flow.per_token
    return deque(sorted(tagged))
