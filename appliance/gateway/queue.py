"""The line in front of one engine: `policy.fair` says whose turn it is, and this lets them know.

    place = queue.ask(person, priority, tokens, deadline_s)
    try:
        while not await place.news(within_s=10):
            ...  # still waiting: tell place.position and place.expected_s
        ...  # a slot of the engine is ours
    finally:
        place.leave(tokens)

All of it runs in one event loop, and nothing awaits between a decision and what it changes.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Final

from appliance.errors import ApplianceError
from appliance.policy.fair import FairScheduler, Priority
from appliance.policy.line import Entry, State
from appliance.units import show_duration

# How often those who wait are told their place, in seconds, if it has changed much.
TELL_EVERY_S: Final = 1.0
# Much: by so large a part of what was told before, and at least by one place or second.
_MUCH: Final = 0.2
# Timers may fire a little early by the clock that is asked here.
_TIMER_SLACK_S: Final = 0.001

_RUNNING: Final = State.RUNNING
_WAITING: Final = State.WAITING


class Place:
    """One request's place: in the line first, unless a slot was free, and then in a slot of the engine."""

    __slots__ = ("_asked_at", "_entry", "_news", "_queue", "_told", "priority")

    def __init__(self, queue: Queue, entry: Entry, priority: Priority, now: float) -> None:
        self.priority = priority
        self._queue = queue
        self._entry = entry
        self._asked_at = now
        self._news: asyncio.Future[None] | None = None
        self._told: tuple[int, float] | None = None  # its standing as the caller knows it, if it asks for news

    @property
    def admitted(self) -> bool:
        """Whether it holds a slot now."""
        return self._entry.state is _RUNNING

    @property
    def waited_s(self) -> float:
        """Seconds in the line: until now, or until it got a slot or left without one."""
        entry = self._entry
        return (monotonic() if entry.state is _WAITING else entry.began_at) - self._asked_at

    @property
    def position(self) -> int:
        """Who is served next has 1; 0 once it does not wait any more."""
        return self._standing()[0]

    @property
    def expected_s(self) -> float:
        """How much longer it will wait, in seconds, as far as can be told; 0 once it does not wait any more."""
        return self._standing()[1]

    async def news(self, within_s: float | None = None) -> bool:
        """Wait: True once it holds a slot; False when its place has changed much or `within_s` is over.

        Raises queue-timeout at the deadline. Whoever gives up, cancelled or not, calls `leave`.
        """
        if self._told is None:
            self._told = self._standing()
        admitted = await self._pause(within_s)
        self._told = self._standing()
        return admitted

    async def slot(self) -> None:
        """Wait until it holds a slot. Raises queue-timeout at the deadline."""
        while not await self._pause(None):
            pass

    def leave(self, tokens: int = 0) -> None:
        """Give up the slot, or the place in the line; a second time does nothing.

        `tokens` is what the request really came to: 0 if the engine never worked on it.
        """
        entry, queue = self._entry, self._queue
        if entry.state is _RUNNING:
            queue.settle(queue.scheduler.finish(entry, tokens, monotonic()))
        elif entry.state is _WAITING:
            queue.forget(entry)

    def wake(self) -> None:
        """Let whoever waits for it look."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def tell(self) -> None:
        """Wake who asked for news, if the place is much different from what they know."""
        if self._told is not None:
            (position, expected_s), (was, was_s) = self._standing(), self._told
            if abs(position - was) >= max(1, was * _MUCH) or abs(expected_s - was_s) >= max(1.0, was_s * _MUCH):
                self.wake()

    async def _pause(self, within_s: float | None) -> bool:
        entry = self._entry
        if entry.state is _WAITING:
            loop = asyncio.get_running_loop()
            self._news = loop.create_future()
            timer = None if within_s is None else loop.call_later(within_s, self.wake)
            try:
                await self._news
            finally:
                self._news = None
                if timer is not None:
                    timer.cancel()
        if entry.state is State.LATE:
            raise self._late()
        return entry.state is _RUNNING

    def _standing(self) -> tuple[int, float]:
        if self._entry.state is not _WAITING:
            return 0, 0.0
        self._queue.scheduler.line(monotonic())
        return self._entry.position, self._entry.expected_s

    def _late(self) -> ApplianceError:
        waited = show_duration(round(self._entry.deadline - self._asked_at))
        return ApplianceError(
            "queue-timeout",
            f"The request waited {waited} for its turn, and that is as long as it may.",
            "Send it again, or at a time when fewer people ask.",
            retry_after_s=max(1, math.ceil(self._queue.scheduler.mean_held_s)),
        )


class Queue:
    """The line and the slots of one engine. `settle` and `forget` are for its places."""

    def __init__(self, scheduler: FairScheduler) -> None:
        self.scheduler = scheduler
        self._places: dict[Entry, Place] = {}  # of those who wait
        self._timer: asyncio.TimerHandle | None = None
        self._telling: asyncio.TimerHandle | None = None

    @property
    def running(self) -> int:
        """How many slots are held."""
        return self.scheduler.running

    @property
    def waiting(self) -> int:
        """How many requests stand in the line."""
        return self.scheduler.waiting

    @property
    def waiting_by_priority(self) -> Counter[str]:
        """How many stand in the line for what."""
        return Counter(place.priority.value for place in self._places.values())

    def ask(self, person: str, priority: Priority, tokens: int, deadline_s: float) -> Place:
        """Ask for a slot, with an estimate of the tokens; at once a place in a slot or in the line.

        It waits `deadline_s` seconds at most. Raises queue-full.
        """
        now = monotonic()
        entry = self.scheduler.ask(person, priority, tokens, now + deadline_s, now)
        place = Place(self, entry, priority, now)
        if entry.state is _WAITING:
            self._places[entry] = place
            self._arm()
        return place

    async def enter(self, person: str, priority: Priority, tokens: int, deadline_s: float) -> Place:
        """Get a slot: at once where one is free, else when it is this request's turn. Raises queue-full, queue-timeout.

        Cancelled while it waits, it leaves nothing behind, even if it was given a slot in the same turn of the loop.
        """
        place = self.ask(person, priority, tokens, deadline_s)
        if not place.admitted:
            try:
                await place.slot()
            except BaseException:
                place.leave()
                raise
        return place

    def resize(self, slots: int) -> None:
        """The engine has another number of slots from now on. Who holds one that is gone keeps it to the end."""
        self.settle(self.scheduler.resize(slots, monotonic()))

    def settle(self, served: Sequence[Entry]) -> None:
        """Wake those who got a slot, and see to the next turn."""
        for entry in served:
            self._places.pop(entry).wake()
        if self._telling is not None:
            self._arm()

    def forget(self, entry: Entry) -> None:
        """Take somebody out of the line."""
        del self._places[entry]
        self.settle(self.scheduler.cancel(entry, monotonic()))

    def _arm(self) -> None:
        """Have `_turn` called when time alone changes something, and `_tell` while anybody waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._places:
            if self._telling is not None:
                self._telling.cancel()
                self._telling = None
            return
        loop = asyncio.get_running_loop()
        turn_at = self.scheduler.next_turn()
        if turn_at is not None:
            self._timer = loop.call_later(max(0.0, turn_at - monotonic()) + _TIMER_SLACK_S, self._turn)
        if self._telling is None:
            self._telling = loop.call_later(TELL_EVERY_S, self._tell)

    def _turn(self) -> None:
        self._timer = None
        served, late = self.scheduler.turn(monotonic())
        for entry in late:
            self._places.pop(entry).wake()
        self.settle(served)

    def _tell(self) -> None:
        self._telling = None
        for place in self._places.values():
            place.tell()
        self._arm()
