"""Backups as the admin means them: begun, made, listed, verified, and as one file for the safe."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.backup import recovery, single, snapshot
from appliance.backup.repository import Kept, Repository
from appliance.config.backup import BackupSettings
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control import running, schedule
from appliance.control.edit import check_writable, set_values
from appliance.control.schedule import done
from appliance.errors import ApplianceError
from appliance.policy.backups import Retention, is_folder
from appliance.store.locks import Lock
from appliance.units import MIB, show_bytes

STAGE: Final = "stage"
EXPORT: Final = "export"
LOCK: Final = "lock"
# What must stay free, so that whoever is served can go on writing.
_ROOM: Final = 256 * MIB

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Begun:
    """Where backups go from now on, and their recovery key. `new` says that nobody has seen the key before."""

    target: str
    words: str
    new: bool


def set_up(home: Home, target: str) -> Begun:
    """Begin to keep backups in a place, or go on with those that are there.

    Raises wrong-use for what is no place or inside the state folder, backup-wrong-key where others have theirs,
    or backup-unreachable.
    """
    try:
        BackupSettings(to=target)
    except ValidationError as error:
        raise ApplianceError(
            "wrong-use",
            f"{target} is neither a folder, as /media/usb/appliance, nor an address of restic, as sftp:nas:/backup.",
            "Give the whole path of the folder, from / on.",
        ) from error
    home.prepare()
    check_writable(home.config)
    if is_folder(target) and Path(target).resolve().is_relative_to(home.state.resolve()):
        raise ApplianceError(
            "wrong-use",
            f"{target} is in the state folder, and would be lost with it.",
            "Choose a folder on another disk, or another machine.",
        )
    new = not home.backup_key.exists()
    words = recovery.make() if new else home.backup_key.read_text()
    with alone(home):
        if new:
            recovery.keep(home, words)
        try:
            _begin(repository(home, target))
        except BaseException:
            if new:
                home.backup_key.unlink()
            raise
        set_values(home.config, ("backup",), {"to": target})
        with acting(home) as acts:
            acts.note(Action.BACKUPS_SET_UP, target, new_key=new)
        schedule.renew(home, load(home.config))
    return Begun(target, words, new)


def _begin(place: Repository) -> None:
    if not place.exists():
        place.make()


def create(home: Home, settings: Settings, told: Told) -> dict[str, Any]:
    """Make a backup while everything runs; what there then is: `id`, `made_at`, `bytes` of it and bytes `added`.

    Raises backup-not-set-up, backup-running, disk-too-small, or what the place raises; then nothing was added.
    """
    place = place_of(home, settings)
    with alone(home):
        stage = home.backup / STAGE
        try:
            told("Copying the state")
            about = snapshot.take(home, stage, running.pids(home).get("chat-page"))
            told(f"Adding it to the backups in {place.target}")
            said = place.add(stage)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        found = {
            "id": said["snapshot_id"],
            "made_at": about.made_at,
            "bytes": said["total_bytes_processed"],
            "added": said["data_added"],
        }
        with acting(home) as acts:
            acts.note(Action.BACKED_UP, found["id"], bytes=found["bytes"], added=found["added"])
        done(home, schedule.CREATE)
        told("Removing what need not be kept any more")
        keep = settings.backup
        place.forget(Retention(keep.keep_daily, keep.keep_weekly, keep.keep_monthly))
    return found


def listed(home: Home, settings: Settings) -> list[Kept]:
    """All backups, the oldest first. Raises backup-not-set-up, or what the place raises."""
    return place_of(home, settings).kept()


def verify(home: Home, settings: Settings) -> None:
    """Read every byte of the backups. Raises backup-not-set-up, backup-damaged, or what the place raises."""
    with alone(home):
        place_of(home, settings).verify()
        done(home, schedule.VERIFY)


def reschedule(home: Home, settings: Settings, changed: dict[str, str | int]) -> Settings:
    """Change when backups are made, checked and tried; the settings after it.

    Raises backup-not-set-up, config-bad-value or config-unreadable.
    """
    place_of(home, settings)
    if changed:
        set_values(home.config, ("backup",), changed)
        settings = load(home.config)
        home.prepare()
        schedule.renew(home, settings)
    return settings


def export(home: Home, file: Path, told: Told) -> int:
    """Make a backup that is one file, encrypted with the recovery key; its bytes.

    Raises backup-not-set-up, backup-running, wrong-use for a file that is there or a folder that is not,
    disk-too-small, disk-full or backup-unreachable; then there is no such file.
    """
    if not home.backup_key.exists():
        raise _not_set_up()
    if file.exists() or not file.parent.is_dir():
        what = "There is a file already at" if file.exists() else "There is no folder for"
        raise ApplianceError("wrong-use", f"{what} {file}.", "Name a new file in a folder that is there.")
    stage, place = home.backup / STAGE, repository(home, str(home.backup / EXPORT))
    with alone(home):
        try:
            told("Copying the state")
            snapshot.take(home, stage, running.pids(home).get("chat-page"))
            told(f"Encrypting it into {file}")
            shutil.rmtree(place.target, ignore_errors=True)
            place.make()
            place.add(stage)
            size = single.pack(Path(place.target), file)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise ApplianceError(
                    "disk-full", f"There is no room left for {file}.", "Free some room there, or name another place."
                ) from error
            raise ApplianceError(
                "backup-unreachable",
                f"{file} cannot be written: {error.strerror or error}.",
                "Name a file that this account may write.",
            ) from error
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            shutil.rmtree(place.target, ignore_errors=True)
        with acting(home) as acts:
            acts.note(Action.BACKUP_EXPORTED, file.name, bytes=size)
    return size


def check_room(home: Home, place: Repository, id: str) -> None:
    """Raises disk-too-small where a backup has no room beside what is there."""
    needed, free = place.size(id) + _ROOM, shutil.disk_usage(home.backup).free
    if free < needed:
        raise ApplianceError(
            "disk-too-small",
            f"{home.backup} has {show_bytes(free)} free, and {show_bytes(needed)} are needed for the restored backup.",
            "Free some room and run it again.",
        )


def place_of(home: Home, settings: Settings) -> Repository:
    """Where backups go. Raises backup-not-set-up."""
    target = settings.backup.to
    if target is None or not home.backup_key.exists():
        raise _not_set_up()
    return repository(home, target)


def _not_set_up() -> ApplianceError:
    return ApplianceError(
        "backup-not-set-up",
        "Nobody has said yet where backups go.",
        "Name a place, best on another disk: appliance backup set-up /media/usb/appliance",
    )


def repository(home: Home, target: str) -> Repository:
    """Backups in a place, with the key of this box."""
    return Repository(target, home.backup_key, home.backup / "cache")


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Keep every other backup and restore out. Raises backup-running."""
    home.backup.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = Lock(home.backup / LOCK)
    if not lock.acquire():
        raise ApplianceError(
            "backup-running", "Another backup or restore is under way.", "Wait for it to end, then run it again."
        )
    try:
        yield
    finally:
        lock.release()
