"""Backups: whether there are any, how old the last one is, and whether they would outlive the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from appliance.audit.actions import Action
from appliance.control.backups import LOCK, STAGE
from appliance.doctor.check import DATABASE, SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import CURRENT, Situation
from appliance.errors import ApplianceError
from appliance.policy.backups import is_folder
from appliance.store import schema
from appliance.store.locks import holder
from appliance.units import show_duration

_OLD_US: Final = 2 * 86_400_000_000
_LAST: Final = "SELECT max(at) FROM audit_event WHERE action = ?"


def look(situation: Situation) -> Iterator[Finding]:
    """What would be missing if the disk broke now."""
    home, target = situation.home, situation.told.backup.to
    stage = home.backup / STAGE
    if stage.exists() and holder(home.backup / LOCK) is None:
        yield Finding("backup-leftover", f"A backup that was cut off has left a copy in {stage}.", str(stage))
    if target is None or not home.backup_key.exists():
        yield Finding("backups-not-set-up", "No backups are made.")
        return
    if shutil.which("restic") is None:
        yield Finding("backup-program-missing", "restic, which keeps the backups, is not installed.")
    if is_folder(target):
        yield from _folder(situation, Path(target))
    last = _last(situation)
    if last is None:
        yield Finding("backup-old", "No backup was made yet.")
    elif situation.now - last > _OLD_US:
        seconds = (situation.now - last) // 1_000_000
        words = f"The last backup was made {show_duration(seconds)} ago."
        yield Finding("backup-old", words, facts={"seconds": seconds})


def _folder(situation: Situation, target: Path) -> Iterator[Finding]:
    if not target.is_dir():
        yield Finding("backup-place-away", f"The place of the backups, {target}, is not there.", "backup.to")
    elif target.stat().st_dev == situation.home.state.stat().st_dev:
        yield Finding("backup-on-same-disk", f"The backups in {target} are on the same disk as the state.", "backup.to")


def _last(situation: Situation) -> int | None:
    """When the last backup was made, in microseconds since 1970 UTC, as the audit log has it."""
    if situation.database != CURRENT:
        return None
    with closing(schema.read_only(situation.home.database)) as connection:
        found: int | None = connection.execute(_LAST, (str(Action.BACKED_UP),)).fetchone()[0]
    return found


def mend(situation: Situation, finding: Finding) -> str:
    """Remove what a backup that was cut off has left. Raises backup-running."""
    if holder(situation.home.backup / LOCK) is not None:
        raise ApplianceError("backup-running", "A backup is under way.", "Wait for it to end, then run it again.")
    shutil.rmtree(finding.about)
    return f"{finding.about} is removed."


CHECK = Check("backups", "Backups are fresh.", look, mend, needs=frozenset({SETTINGS, DATABASE}))
