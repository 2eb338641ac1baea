"""Read the machine on a thread: a driver that takes its time, or never answers, holds up nobody who is being served."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from appliance.hardware.cards import Cards
from appliance.hardware.power import Reading

# A reading that is no older than this is not taken anew: two who ask within a second get the same.
_FRESH_S: Final = 0.9
_WAIT_S: Final = 1.0


class Sampler:
    """Takes a reading when somebody asks for one. The thread begins with the first; use it on one event loop."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        """`read` is only called on the thread, and may block."""
        self._read = read
        self._last: Reading | None = None
        self._pending: asyncio.Future[Reading] | None = None
        self._thread: threading.Thread | None = None
        self._asked: queue.SimpleQueue[asyncio.Future[Reading] | None] = queue.SimpleQueue()

    async def now(self, most_s: float = _WAIT_S) -> Reading | None:
        """The machine now, as it was at most a second ago; waits `most_s` seconds.

        When the reading takes longer, the cards that were there before count as lost; None when there was none before.
        """
        last = self._last
        if last is not None and time.monotonic() - last.at < _FRESH_S:
            return last
        if self._pending is None:
            self._pending = asyncio.get_running_loop().create_future()
            self._begin()
            self._asked.put(self._pending)
        done, _ = await asyncio.wait([self._pending], timeout=most_s)
        if done:
            return done.pop().result()
        return last and Reading(time.monotonic(), last.cards and Cards(up=False), None, None)

    def close(self) -> None:
        """Let the thread end, once it can; nobody waits for it."""
        self._asked.put(None)

    def _begin(self) -> None:
        if self._thread is None:
            loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, args=(loop,), name="sampler", daemon=True)
            self._thread.start()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (pending := self._asked.get()) is not None:
            reading = self._read()
            # A loop that is closed has nobody left to tell.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._tell, pending, reading)

    def _tell(self, pending: asyncio.Future[Reading], reading: Reading) -> None:
        self._last, self._pending = reading, None
        pending.set_result(reading)
