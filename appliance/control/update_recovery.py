"""An update that has ended, or was cut off at whatever step: either it is carried out whole, or it is undone whole.

The link to the current release decides. As long as it leads to the old one, the command that runs this is the old
version's own, so that a new version which cannot even start is no obstacle.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.backup import putting
from appliance.backup.snapshot import STATE
from appliance.config.paths import Home
from appliance.control.installation import RELEASES, Installation
from appliance.control.up import down
from appliance.errors import ApplianceError
from appliance.policy.updates import MIGRATE, STOP
from appliance.store import maintenance
from appliance.store.files import sync_folder
from appliance.store.locks import Lock
from appliance.supervise.where import supervisor_pid
from appliance.update import journal
from appliance.update.journal import CARRIED_OUT, REFUSED, ROLLBACK, UNDONE, Record
from appliance.update.manifest import MANIFEST

BEFORE, BACK, ASIDE, INCOMING = "before", "back", "aside", "incoming"
LOCK = "lock"

Told = Callable[[str], None]


def unfinished(home: Home) -> bool:
    """Whether an update is under way or was cut off, and this process is no part of it."""
    return journal.journal(home).exists() and not maintenance.is_ours(home.maintenance)


def refuse_if_unfinished(home: Home) -> None:
    """Raises updating while an update is under way, or update-not-ready when one was cut off."""
    refuse_while_under_way(home)
    if unfinished(home):
        raise ApplianceError(
            "update-not-ready", "An update was cut off, and is still to be undone.", "Run: appliance up"
        )


def refuse_while_under_way(home: Home) -> None:
    """Raises updating while somebody works on an update that this process is no part of."""
    if unfinished(home):
        _take(home).release()


def _take(home: Home) -> Lock:
    lock = Lock(home.update / LOCK)
    if not lock.acquire():
        raise maintenance.updating()
    return lock


def recover(home: Home, told: Told) -> Record | None:
    """End an update that was cut off; how it ended, None where there is none. Raises updating while it is under way."""
    if not unfinished(home):
        return None
    lock = _take(home)
    try:
        record = journal.find(home)
        return settle(home, record, told) if record is not None else None
    finally:
        lock.release()


def settle(home: Home, record: Record, told: Told) -> Record:
    """Carry it out to its end, or undo it. Call it with the lock in hand; safe to do again."""
    installation = Installation(Path(record.code))
    if installation.current == record.new:
        return _carry_out(home, record)
    told("Going back to what was before the update")
    _undo(home, record)
    reason = record.reason or "it was cut off"
    outcome = UNDONE if record.has(STOP) else REFUSED
    ended = journal.close(home, replace(record, reason=reason), outcome)
    maintenance.open_again(home.maintenance)
    if outcome == UNDONE:
        with acting(home) as acts:
            acts.note(
                Action.UPDATE_UNDONE,
                record.to_version,
                before=record.from_version,
                serial=record.serial,
                step=record.steps[-1][0],
            )
    _tidy(home, keep=_kept(home))
    journal.forget(home)
    return ended


def _carry_out(home: Home, record: Record) -> Record:
    """It is decided: the new version serves."""
    ended = journal.close(home, record, CARRIED_OUT)
    maintenance.open_again(home.maintenance)
    with acting(home) as acts:
        if record.kind == ROLLBACK:
            acts.note(Action.ROLLED_BACK, record.to_version, before=record.from_version, data=bool(record.back))
        else:
            acts.note(Action.UPDATED, record.to_version, before=record.from_version, serial=record.serial)
    _tidy(home, keep=_kept(home))
    shutil.rmtree(journal.folder_of(home, record.id) / INCOMING, ignore_errors=True)
    _remove_releases(Installation(Path(record.code)), keep={record.old, record.new})
    journal.forget(home)
    return ended


def _undo(home: Home, record: Record) -> None:
    """Bring the state of before back, if anything may have changed it."""
    if not record.has(STOP):
        return
    if supervisor_pid(home.run) is not None:
        down(home)
    if not record.has(MIGRATE):
        return
    if home.restoring.exists():
        # A step of it was itself a replacement; a half of one is no state at all.
        putting.finish(home)
    before = journal.folder_of(home, record.id) / BEFORE
    # The database is the last to be moved: while it is here, the copy is whole and the state is not the one of before.
    if (before / STATE / home.database.name).exists():
        aside = journal.folder_of(home, record.id) / ASIDE
        home.backup.mkdir(mode=0o700, parents=True, exist_ok=True)
        putting.put(home, before, aside, {"id": record.id, "made_at": "", "from": "update"})
    sync_folder(home.state)


def _kept(home: Home) -> set[str]:
    """The update that can still be gone back from: the last one that was carried out."""
    done = [one for one in journal.history(home) if one.outcome == CARRIED_OUT]
    return {done[-1].id} if done else set()


def _tidy(home: Home, keep: set[str]) -> None:
    """Remove what no update needs any more."""
    for path in home.update.iterdir():
        if path.is_dir() and path.name not in keep:
            shutil.rmtree(path, ignore_errors=True)


def _remove_releases(installation: Installation, keep: set[str]) -> None:
    """Remove releases that updates have put there and that are neither the current one nor the one before it."""
    for path in (installation.code / RELEASES).iterdir():
        if path.name not in keep and (path / MANIFEST).exists():
            installation.remove(path.name)
