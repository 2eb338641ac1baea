"""The search for a better setting, step by step: pure. It says what to measure next and is told what came of it.

One thing is changed at a time. A change is measured in turn with what there is: before, after, before, after, and once
more before it is kept. Only one engine runs at a time, because two would take each other's cores. Of each the best
figures count, because other programs only ever slow a machine down. Two or more changes that were kept are at last
measured together against the beginning in the same way, and are dropped together if they do not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from appliance.engine.measure import Speed
from appliance.proof.settings import DIMENSIONS, Dimension, Machine, Setting, alone_s, best_of, busy_s, seconds

# A change must gain this much to be kept, and neither one person nor all together may lose as much.
LEAST_GAIN: Final = 1.05
# Tokens a second that everybody gets when all slots are at work: about as fast as one reads.
LEAST_EACH: Final = 5.0
# What is this much slower the first time is not measured a second time: at worst a gain is missed.
_HOPELESS: Final = 0.9
_ROUNDS: Final = 2

AS_IT_IS: Final = "as it is"
TOGETHER: Final = "all of it together"

Refuses = Callable[[Setting], str]


@dataclass(frozen=True, slots=True)
class Row:
    """One change that was tried. `gain` is how much faster, 1.05 for 5 %; `why` says why it was not kept.

    `before` and `speed` are the best figures of the setting without and with it; open where it was not measured.
    """

    change: str
    setting: Setting
    kept: bool = False
    why: str = ""
    before: Speed | None = None
    speed: Speed | None = None
    gain: float | None = None


@dataclass
class _Duel:
    """A change under trial, and what was measured of both sides so far."""

    change: str
    setting: Setting
    against: Setting
    before: list[Speed] = field(default_factory=list)
    after: list[Speed] = field(default_factory=list)

    @property
    def turn(self) -> list[Speed]:
        """Whose turn it is: the one that has been measured less, and first what there was before."""
        return self.before if len(self.before) == len(self.after) else self.after

    @property
    def rounds(self) -> int:
        """The rounds that both have gone through; 0 in the middle of one."""
        return len(self.after) if len(self.before) == len(self.after) else 0


class Search:
    """Ask `next_trial`, measure it, call `told` or `failed`; again until it is None. Stopping earlier is allowed.

    `refuses` says why a setting cannot be run here, or nothing; such a setting is never asked for.
    """

    def __init__(self, start: Setting, machine: Machine, refuses: Refuses) -> None:
        self._start = start
        self._machine = machine
        self._refuses = refuses
        self._best = start
        self._tried: set[Setting] = set()
        self._kept = 0
        self._first: list[Speed] = []
        self._seen: dict[Setting, list[Speed]] = {}
        self._waiting = self._duels()
        self._duel: _Duel | None = None
        self.rows: list[Row] = []

    @property
    def best(self) -> Setting:
        """The best setting that is known now."""
        return self._best

    @property
    def about(self) -> int:
        """About how many changes will have been tried at the end."""
        left = sum(len(self._open(dimension)) for dimension in DIMENSIONS)
        return len(self.rows) + (self._duel is not None) + left

    @property
    def change(self) -> str:
        """What is tried now, in words."""
        return self._duel.change if self._duel else AS_IT_IS

    @property
    def gain(self) -> float:
        """How much faster the best setting is than the start: 1.12 for 12 %; by its parts if time ran out."""
        if self.rows and self.rows[-1].change == TOGETHER:
            return (self.rows[-1].gain or 1.0) if self.rows[-1].kept else 1.0
        product = 1.0
        for row in self.rows:
            product *= row.gain if row.kept and row.gain else 1.0
        return product

    def next_trial(self) -> Setting | None:
        """The setting to be measured now; None at the end."""
        if not self._first:
            return self._start
        if self._duel is None:
            self._duel = next(self._waiting, None)
        if self._duel is None:
            return None
        return self._duel.against if self._duel.turn is self._duel.before else self._duel.setting

    def told(self, speed: Speed) -> None:
        """What the last `next_trial` is like."""
        self._seen.setdefault(self.next_trial() or self._start, []).append(speed)
        if not self._first:
            self._first.append(speed)
            self._tried.add(self._start)
            self.rows.append(Row(AS_IT_IS, self._start, kept=True, speed=speed))
            return
        assert self._duel is not None
        self._duel.turn.append(speed)
        self._judge(self._duel)

    def failed(self, why: str) -> None:
        """The last `next_trial` cannot be run after all."""
        if self._duel is not None:
            self._end(self._duel, Row(self._duel.change, self._duel.setting, why=why))

    def _duels(self) -> Iterator[_Duel]:
        """Every change that is to be tried, one after the other, from what is best by then."""
        for dimension in DIMENSIONS:
            while found := self._open(dimension):
                self._tried.add(found[0])
                change = dimension.told(self._best, found[0])
                if why := self._refuses(found[0]):
                    self.rows.append(Row(change, found[0], why=why))
                else:
                    yield _Duel(change, found[0], self._best)
        if self._kept > 1:
            yield _Duel(TOGETHER, self._best, self._start)

    def _open(self, dimension: Dimension) -> list[Setting]:
        return [one for one in dimension.candidates(self._best, self._machine) if one not in self._tried]

    def _judge(self, duel: _Duel) -> None:
        """End a duel that is decided."""
        if not duel.rounds:
            return
        before, after = best_of(duel.before), best_of(duel.after)
        gain = seconds(before) / seconds(after)
        why = _why_not(duel, before, after, gain)
        if not why and seconds(after) > seconds(best_of(self._seen[duel.against])):
            # What there was has once been faster than that: it was disturbed in all of these rounds.
            why = "no faster than before, at a calmer moment"
        if why and (duel.rounds >= _ROUNDS or gain < _HOPELESS):
            self._end(duel, Row(duel.change, duel.setting, why=why, before=before, speed=after, gain=gain))
        elif duel.rounds > _ROUNDS:
            self._end(duel, Row(duel.change, duel.setting, kept=True, before=before, speed=after, gain=gain))

    def _end(self, duel: _Duel, row: Row) -> None:
        self._duel = None
        self.rows.append(row)
        if duel.change == TOGETHER:
            self._best = duel.setting if row.kept else self._start
        elif row.kept:
            self._kept += 1
            self._best = duel.setting


def _why_not(duel: _Duel, before: Speed, after: Speed, gain: float) -> str:
    """Why a change is not kept; nothing when it is."""
    if gain < LEAST_GAIN:
        return "slower" if gain < 1 / LEAST_GAIN else "no gain of 5 %"
    if alone_s(after) > alone_s(before) * LEAST_GAIN:
        return "slower for one person"
    if busy_s(after) > busy_s(before) * LEAST_GAIN:
        return "slower when all slots are busy"
    each, was = after.together / duel.setting.slots, before.together / duel.against.slots
    more = duel.setting.slots > duel.against.slots
    if each < LEAST_EACH and (was >= LEAST_EACH or (more and each < was)):
        return f"with all slots busy each would get {each:.1f} tok/s"
    return ""
