"""Run the checks, all at once, each for as long as it may take; and mend what may be mended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from appliance.config.paths import Home
from appliance.doctor import seen
from appliance.doctor.check import DATABASE, SETTINGS, Check
from appliance.doctor.finding import Finding, Level, worst
from appliance.doctor.situation import CURRENT, MISSING, Situation, look_around
from appliance.doctor.table import CHECKS
from appliance.errors import ApplianceError
from appliance.units import show_instant

NAMES_OF_DOCTOR: Final = frozenset({"check-failed", "check-slow"})


@dataclass(frozen=True, slots=True)
class Looked:
    """What one check found; None where it could not look, because what it needs cannot be read."""

    check: Check
    found: tuple[Finding, ...] | None


@dataclass(frozen=True, slots=True)
class Result:
    """All checks of one run, and what was mended, in sentences."""

    looked: tuple[Looked, ...]
    since: dict[str, int]
    now: int
    mended: tuple[str, ...] = ()

    @property
    def findings(self) -> list[tuple[Check, Finding]]:
        """Everything that was found, check by check."""
        return [(one.check, finding) for one in self.looked for finding in one.found or ()]

    @property
    def healthy(self) -> bool:
        """Whether nothing is a warning or worse."""
        return all(finding.kind.level in (Level.OK, Level.NOTE) for _, finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The document of `doctor --json`."""
        return {
            "healthy": self.healthy,
            "at": show_instant(self.now),
            "checks": [
                {"name": one.check.name, "level": None if one.found is None else worst(one.found)}
                for one in self.looked
            ],
            "findings": [
                finding.to_json(check.name, show_instant(self.since.get(finding.key)))
                for check, finding in self.findings
            ],
            "mended": list(self.mended),
        }


def examine(home: Home, *, fix: bool = False, checks: tuple[Check, ...] = CHECKS) -> Result:
    """Run the checks; with `fix`, mend what may be mended, and look again."""
    situation = look_around(home)
    looked = _look(situation, checks)
    mended = tuple(_mend(situation, looked)) if fix else ()
    if mended:
        situation = look_around(home)
        looked = _look(situation, checks)
    keys = [finding.key for one in looked for finding in one.found or ()]
    unknown = any(one.found is None or any(found.id in NAMES_OF_DOCTOR for found in one.found) for one in looked)
    return Result(looked, seen.since(home.doctor, keys, unknown, situation.now), situation.now, mended)


def _mend(situation: Situation, looked: Iterable[Looked]) -> Iterable[str]:
    """Mend what may be; what cannot be mended is told, and stays a finding."""
    for one in looked:
        for finding in one.found or ():
            if finding.kind.fixable and one.check.mend is not None:
                try:
                    yield one.check.mend(situation, finding)
                except (OSError, ApplianceError) as error:
                    yield f"Not mended: {finding.what} {error}"


def _look(situation: Situation, checks: tuple[Check, ...]) -> tuple[Looked, ...]:
    """Every check on a thread of its own, which is left alone once its time is over."""
    begun = [(check, *_begin(check, situation)) for check in checks]
    started = time.monotonic()
    return tuple(_ended(check, thread, box, started) for check, thread, box in begun)


def _can_look(check: Check, situation: Situation) -> bool:
    lacks_settings = SETTINGS in check.needs and situation.settings is None
    return not lacks_settings and not (DATABASE in check.needs and situation.database not in (CURRENT, MISSING))


def _begin(check: Check, situation: Situation) -> tuple[threading.Thread | None, list[tuple[Finding, ...]]]:
    box: list[tuple[Finding, ...]] = []
    if not _can_look(check, situation):
        return None, box

    def work() -> None:
        try:
            box.append(tuple(check.look(situation)))
        except ApplianceError as error:
            box.append((Finding("check-failed", f"{check.name}: {error.sentence}", check.name, error.hint),))
        except Exception as error:  # noqa: BLE001 - whatever a check meets is a finding, and no reason to lose the others
            box.append((Finding("check-failed", f"{check.name}: {type(error).__name__}: {error}.", check.name),))

    # A daemon: a driver that never answers must not keep this command from ending.
    thread = threading.Thread(target=work, name=f"check {check.name}", daemon=True)
    thread.start()
    return thread, box


def _ended(check: Check, thread: threading.Thread | None, box: list[tuple[Finding, ...]], started: float) -> Looked:
    if thread is None:
        return Looked(check, None)
    thread.join(max(0.0, started + check.limit_s - time.monotonic()))
    if box:
        return Looked(check, box[0])
    words = f"{check.name}: the check did not come to an end within {check.limit_s:g} seconds."
    return Looked(check, (Finding("check-slow", words, check.name),))
