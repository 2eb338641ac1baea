"""Share the machine's energy out to the calls that it worked for.

The rule: each second's energy is divided equally among the requests that were with an engine in that second; one that
was there for a part of it counts for that part. What the machine uses while nobody asks is nobody's. The second in
which a call ends is not over when its row is written, so the power of the last second in which requests were there
stands in for it.

Nothing here reads the machine: `metering` brings the readings, once a second. Without any, a call costs one comparison.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from appliance.gateway.sampler import Sampler

_TICK_S: Final = 1.0
# Where nothing tells its energy: how often it is looked for again, since a driver may come back.
_LOOK_S: Final = 60.0
# A driver may take seconds to begin.
_PATIENCE_S: Final = 30.0


class EnergyMeter:
    """The energy of each call under way. Power is in millijoules a second; use it on one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # The last reading: when, and the millijoules until then. None: nothing is measured.
        self._read: tuple[float, int] | None = None
        self._power: float | None = None
        # Since the last tick: seconds with requests, and seconds as a request's equal share of them.
        self._busy_s = self._share_s = 0.0
        self._since = 0.0
        # Of each request: its share until it came, and what it has used until the last tick.
        self._came: dict[int, float] = {}
        self._used: dict[int, float] = {}

    def enter(self, id: int) -> None:
        """A call is with an engine of this machine from now on."""
        if self._read is None:
            return
        self._advance()
        self._came[id] = self._share_s
        self._used[id] = 0.0

    def leave(self, id: int) -> int | None:
        """A call is no longer with it: its millijoules, or None where they were not measured from its beginning on."""
        if id not in self._came:
            return None
        self._advance()
        share_s = self._share_s - self._came.pop(id)
        used = self._used.pop(id)
        return None if self._power is None else round(used + share_s * self._power)

    def tick(self, at: float, energy_mj: int | None) -> None:
        """A reading: the millijoules that were used until the moment `at`, from any beginning; None for no reading."""
        before, self._read = self._read, None if energy_mj is None else (at, energy_mj)
        if before is None or energy_mj is None or energy_mj < before[1]:
            # Nothing is known of the time since the last one, and so of no call that was under way in it.
            self._came.clear()
            self._used.clear()
        elif at > before[0]:
            self._advance()
            power = (energy_mj - before[1]) / (at - before[0])
            for id, came in self._came.items():
                self._used[id] += (self._share_s - came) * power
                self._came[id] = 0.0
            if self._power is None or self._busy_s >= (at - before[0]) / 2:
                self._power = power
        else:
            # The same reading again: its second is not over.
            return
        self._busy_s = self._share_s = 0.0
        self._since = self._clock()

    def _advance(self) -> None:
        now = self._clock()
        if self._came:
            self._busy_s += now - self._since
            self._share_s += (now - self._since) / len(self._came)
        self._since = now


async def metering(meter: EnergyMeter, sampler: Sampler) -> None:
    """Bring the meter its readings until this is cancelled; hardly ever looks where nothing tells its energy."""
    while True:
        reading = await sampler.now(_PATIENCE_S)
        energy_mj = None if reading is None else reading.energy_mj
        meter.tick(reading.at if reading else 0.0, energy_mj)
        await asyncio.sleep(_LOOK_S if energy_mj is None else _TICK_S)
