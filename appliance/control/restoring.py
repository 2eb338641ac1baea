"""A backup brought back: fetched, looked through, and put in the place of what is there."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.backup import putting, recovery, single, snapshot
from appliance.backup.repository import Kept, Repository
from appliance.backup.snapshot import ABOUT, STATE
from appliance.config.paths import Home
from appliance.control.backups import alone, check_room, repository
from appliance.errors import ApplianceError
from appliance.policy.backups import ASIDE, About, NewerError, is_folder, read_about
from appliance.store.files import write_atomic
from appliance.store.schema import read_only
from appliance.supervise.where import supervisor_pid
from appliance.units import now_us, show_instant

_RESTORED: Final = "restored"
# The key that was typed, until it is known to be the right one.
_TRIED: Final = "tried.key"
_UNPACKED: Final = "unpacked"

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was brought back, and where what was there before is now."""

    id: str
    about: About
    aside: Path


def find(home: Home, target: str, words: str | None, id: str) -> Kept:
    """The backup that `restore` would bring back, and raises as that does; changes nothing."""
    home.prepare()
    with alone(home), _place(home, target, words) as (place, _):
        return known(place, id)


def restore(home: Home, target: str, words: str | None, id: str, told: Told) -> Restored:
    """Replace all state and the settings by those of a backup (`latest`, or an id); the box must be down.

    `words` is the recovery key; without one, the key that this box has. Raises restore-running, backup-running,
    backup-wrong-key, backup-not-found, backup-damaged, database-newer, or what the place raises; then nothing was
    changed.
    """
    home.prepare()
    if supervisor_pid(home.run) is not None:
        raise ApplianceError(
            "restore-running",
            "The appliance is running, and a restore replaces all that it writes to.",
            "End it first: appliance down",
        )
    resume(home)
    with alone(home):
        folder = home.backup / _RESTORED
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with _place(home, target, words) as (place, key):
                found = known(place, id)
                told(f"Fetching the backup of {found.made_at[:16].replace('T', ' ')} UTC from {target}")
                check_room(home, place, found.id)
                place.restore(found.id, folder)
            about = look_through(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        secrets = folder / STATE / "secrets"
        secrets.mkdir(mode=0o700, exist_ok=True)
        write_atomic(secrets / home.backup_key.name, key.encode(), 0o600)
        told("Putting it in the place of what was there")
        aside = home.state / f"{ASIDE}{_stamp()}"
        putting.put(home, folder, aside, {"id": found.id, "made_at": about.made_at, "from": target})
    _record(home, {"id": found.id, "made_at": about.made_at, "from": target})
    return Restored(found.id, about, aside)


def resume(home: Home) -> bool:
    """Go on with a restore that was interrupted when it had begun to replace things; False where none was.

    Raises backup-running.
    """
    if not home.restoring.exists():
        return False
    with alone(home):
        about = putting.finish(home)
    if about is not None:
        _record(home, about)
    return about is not None


def _record(home: Home, about: dict[str, str]) -> None:
    with acting(home) as acts:
        acts.note(Action.RESTORED, about["id"], made_at=about["made_at"], **{"from": about["from"]})


@contextmanager
def _place(home: Home, target: str, words: str | None) -> Iterator[tuple[Repository, str]]:
    """Where the backups are, and their key. What was typed lies in a file only meanwhile. Raises backup-wrong-key."""
    with _unpacked(home, target) as folder:
        if words is None and home.backup_key.exists():
            yield repository(home, folder), home.backup_key.read_text()
            return
        key = recovery.read(words or "")
        tried = home.backup / _TRIED
        write_atomic(tried, key.encode(), 0o600)
        try:
            yield Repository(folder, tried, home.backup / "cache"), key
        finally:
            tried.unlink()


@contextmanager
def _unpacked(home: Home, target: str) -> Iterator[str]:
    """The place as it is; of a backup that is one file, a folder with what is in it. Raises backup-damaged."""
    if not (is_folder(target) and Path(target).is_file()):
        yield target
        return
    folder = home.backup / _UNPACKED
    try:
        single.unpack(Path(target), folder)
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def known(place: Repository, id: str) -> Kept:
    """A backup that is there. Raises backup-not-found."""
    kept = place.kept()
    found = kept[-1:] if id == "latest" else [one for one in kept if one.id == id]
    if not found:
        raise ApplianceError(
            "backup-not-found",
            f"There is no backup '{id}' in {place.target}." if kept else f"There is no backup in {place.target} yet.",
            f"There are: {', '.join(one.id for one in kept)}." if kept else "Make one: appliance backup create",
        )
    return found[0]


def look_through(folder: Path) -> About:
    """Whether it is whole: what it says of itself, and its databases. Raises backup-damaged or database-newer."""
    try:
        about = read_about(json.loads((folder / ABOUT).read_text()))
        for name, rows in about.rows.items():
            _check(folder / STATE / name, rows)
    except NewerError as error:
        raise ApplianceError(
            "database-newer",
            "The backup was made by a newer version of the appliance.",
            "Install that version, then restore it.",
        ) from error
    except (OSError, ValueError, sqlite3.Error) as error:
        raise ApplianceError(
            "backup-damaged", f"The backup cannot be used: {error}.", "Restore an earlier one."
        ) from error
    return about


def _check(database: Path, rows: dict[str, int]) -> None:
    """Raises ValueError or sqlite3.Error."""
    with closing(read_only(database)) as connection:
        (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise ValueError(f"{database.name} is damaged: {verdict}")
    if snapshot.count_rows(database) != rows:
        raise ValueError(f"{database.name} does not have the rows that it had")


def _stamp() -> str:
    return (show_instant(now_us()) or "")[:19].replace("-", "").replace(":", "")
