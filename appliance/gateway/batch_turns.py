"""Hands out the few lines that batches may have under way at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appliance.policy.batches import Waiting, next_up


class Turns:
    """So many lines at once; `policy.batches.next_up` says whose is next."""

    def __init__(self, lines: int, paused: Callable[[], bool] = lambda: False) -> None:
        """While `paused`, no line gets a turn; `give` looks whether it still is."""
        self._free = lines
        self._paused = paused
        self._waiting: dict[Waiting, asyncio.Future[None]] = {}
        self._under_way: dict[str, int] = {}
        self._served: dict[str, int] = {}
        self._number = 0

    async def enter(self, who: Waiting) -> None:
        """Wait for a turn, which `leave` gives back."""
        future = self._waiting[who] = asyncio.get_running_loop().create_future()
        self.give()
        try:
            await future
        except asyncio.CancelledError:
            if self._waiting.pop(who, None) is None:
                # It was given in the same turn of the loop.
                self.leave(who)
            raise

    def leave(self, who: Waiting) -> None:
        """Give a turn back."""
        person = who[0]
        self._under_way[person] -= 1
        if not self._under_way[person]:
            del self._under_way[person]
        self._free += 1
        self.give()

    def give(self) -> None:
        """Hand out the turns that are free."""
        while self._free and self._waiting and not self._paused():
            who = next_up(self._waiting, self._under_way, self._served)
            if who is None:
                return
            self._free -= 1
            self._number += 1
            self._served[who[0]] = self._number
            self._under_way[who[0]] = self._under_way.get(who[0], 0) + 1
            self._waiting.pop(who).set_result(None)
