"""How much energy the machine has used, as far as it tells: graphics cards by NVML, processor and memory by RAPL.

What nothing tells is left out and not guessed: fans, disks, the losses of the power supply. Energy is in whole
millijoules since the first reading; None means that there is no reading, which is not 0.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.hardware.cards import Card, CardReader, Cards
from appliance.hardware.tree import HOST, Tree, number, text

# Between two readings of a card's power that lie further apart nobody knows what it drew.
_MOST_GAP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The machine at one moment. `at` is on the clock `time.monotonic`; `cards` is None without NVIDIA's library."""

    at: float
    cards: Cards | None
    gpu_mj: int | None
    cpu_mj: int | None

    @property
    def energy_mj(self) -> int | None:
        """All that was measured; None when nothing was."""
        if self.gpu_mj is None and self.cpu_mj is None:
            return None
        return (self.gpu_mj or 0) + (self.cpu_mj or 0)


class MachineReader:
    """Reads cards and processor. Use it from one thread, at most once a second; never raises."""

    def __init__(self, tree: Tree = HOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._cards = CardReader()
        self._card_energy = CardEnergy()
        self._processor = ProcessorEnergy(tree)
        self._clock = clock

    def read(self) -> Reading:
        """The machine now."""
        cards = self._cards.read()
        at = self._clock()
        return Reading(at, cards, self._card_energy.add(cards, at), self._processor.read())


class CardEnergy:
    """Sums the energy of all cards: by a card's own counter, or by its power where it has none."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[Card, float]] = {}
        self._total = 0.0

    def add(self, cards: Cards | None, at: float) -> int | None:
        """Take the cards as they are `at` a moment; returns the millijoules since the first."""
        every = cards.cards if cards else ()
        told = [card for card in every if card.energy_mj is not None or card.power_mw is not None]
        for card in told:
            before = self._before.get(card.index)
            self._before[card.index] = card, at
            if before is not None:
                # A counter that has begun again with a new driver says nothing of the time before.
                self._total += max(0.0, _used(before[0], card, at - before[1]))
        return int(self._total) if told else None


def _used(before: Card, now: Card, seconds: float) -> float:
    """Millijoules of one card between two readings."""
    if before.energy_mj is not None and now.energy_mj is not None:
        return now.energy_mj - before.energy_mj
    if before.power_mw is None or now.power_mw is None or seconds > _MOST_GAP_S:
        return 0.0
    return (before.power_mw + now.power_mw) / 2 * seconds


class ProcessorEnergy:
    """Sums the RAPL counters of Intel's and AMD's processors and their memory. Only root may read them."""

    def __init__(self, tree: Tree = HOST) -> None:
        self._before: dict[Path, int] = {}
        self._domains: tuple[Path, ...] | None = None
        self._folder = tree.sys / "class/powercap"
        self._total_uj = 0

    def read(self) -> int | None:
        """Millijoules since the first reading; None when no counter can be read."""
        if self._domains is None:
            self._domains = _domains(self._folder)
        readable = False
        for domain in self._domains:
            now = number(domain / "energy_uj")
            if now is None:
                continue
            readable = True
            used = now - self._before.get(domain, now)
            if used < 0:
                # The counter has come round.
                used += number(domain / "max_energy_range_uj") or -used
            self._total_uj += used
            self._before[domain] = now
        return self._total_uj // 1000 if readable else None


def _domains(folder: Path) -> tuple[Path, ...]:
    """The counters that add up: packages, and their memory. Cores are part of a package, `psys` is another sum."""
    found = sorted(folder.glob("intel-rapl:*"))
    return tuple(path for path in found if text(path / "name").startswith(("package", "dram")))
