"""A restore drill: the newest backup brought back beside what runs, started, and used as staff use it."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from appliance.audit import reading
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.backup.repository import Kept, Repository
from appliance.backup.snapshot import CONFIG, STATE
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control import sandbox, schedule
from appliance.control.backups import Told, alone, check_room, place_of
from appliance.control.restoring import known, look_through

FOLDER: Final = "drill"


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill has shown. `lost_s` is how much work would be lost if the machine broke now, in seconds (RPO);
    `back_s` how long it took from nothing but the backup to an answer (RTO), `fetch_s` of these to fetch it.
    `rows` are those of all databases. `signed_in` is None where sign-on is off.
    """

    id: str
    made_at: str
    lost_s: int
    back_s: float
    fetch_s: float
    rows: int
    signed_in: bool | None


def drill(home: Home, settings: Settings, told: Told) -> Drilled:
    """Restore the newest backup into a sandbox, start it, sign in, and have it answer; nothing of it is left.

    Raises backup-not-set-up, backup-not-found, backup-damaged, disk-too-small, process-failed, drill-failed, or what
    the place raises.
    """
    place = place_of(home, settings)
    folder = home.backup / FOLDER
    with alone(home):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            found = known(place, "latest")
            done = _try(home, place, found, folder, told)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        with acting(home) as acts:
            acts.note(Action.BACKUP_DRILLED, found.id, lost_s=done.lost_s, back_s=round(done.back_s))
        schedule.done(home, schedule.DRILL)
    return done


def _try(home: Home, place: Repository, found: Kept, folder: Path, told: Told) -> Drilled:
    told(f"Restoring the backup {found.id} into a sandbox")
    began = time.monotonic()
    check_room(home, place, found.id)
    place.restore(found.id, folder)
    about = look_through(folder)
    fetched = time.monotonic()
    beside = Home(folder / CONFIG / home.config.name, folder / STATE)
    fault = reading.verify(beside).fault
    if fault is not None:
        raise sandbox.failed(f"its audit log is not whole: {fault.words}")
    told("Starting it beside what runs")
    settings = sandbox.make(home, beside)
    visitor = sandbox.invite(beside)
    with sandbox.running(beside, settings):
        if settings.identity.enabled:
            sandbox.sign_in(settings, visitor)
        sandbox.chat(beside, settings, visitor)
        ended = time.monotonic()
    return Drilled(
        found.id,
        about.made_at,
        lost_s=int((datetime.now(UTC) - datetime.fromisoformat(about.made_at)).total_seconds()),
        back_s=ended - began,
        fetch_s=fetched - began,
        rows=sum(sum(tables.values()) for tables in about.rows.values()),
        signed_in=True if settings.identity.enabled else None,
    )
