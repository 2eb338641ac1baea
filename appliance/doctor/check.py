"""What a check is: a name, how it looks, and how it mends what it may mend."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation

# Checks that ask the drivers of graphics cards do so one after another: not every driver bears two at once.
DRIVERS = threading.Lock()

SETTINGS, DATABASE = "settings", "database"


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `good` is said when nothing is found.

    `look` changes nothing. `mend` puts one finding right and says in a sentence what it did; it is only called for
    findings whose kind is fixable. `needs` says what must be readable: where it is not, another check tells.
    """

    name: str
    good: str
    look: Callable[[Situation], Iterable[Finding]]
    mend: Callable[[Situation, Finding], str] | None = None
    needs: frozenset[str] = frozenset()
    limit_s: float = 20.0
