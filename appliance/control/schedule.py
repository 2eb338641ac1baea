"""When the box makes, checks and tries its backups by itself."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.supervise import jobs
from appliance.supervise.jobs import Job

CREATE, VERIFY, DRILL = COMMANDS = ("create", "verify", "drill")
_LOG: Final = "backup.log"


@dataclass(frozen=True, slots=True)
class Planned:
    """One of `COMMANDS`: when it last ended well, None for never; and when it comes next, None for never by itself."""

    command: str
    last: datetime | None
    next: datetime | None


def renew(home: Home, settings: Settings) -> None:
    """Have what runs here go by these settings."""
    jobs.write(home.run, _jobs(home, settings) if _is_on(home, settings) else ())


def planned(home: Home, settings: Settings) -> list[Planned]:
    """What is done by itself, and when."""
    now = datetime.now().astimezone()
    return [_planned(home, job, now, on=_is_on(home, settings)) for job in _jobs(home, settings)]


def done(home: Home, command: str) -> None:
    """Note that it has just been done, by whomever."""
    _mark(home, command).write_text("done\n")


def last_done(home: Home, command: str) -> datetime | None:
    """When it last ended well; None for never."""
    mark = _mark(home, command)
    # Whoever waits for the first time of day makes an empty one.
    return _time_of(mark) if mark.exists() and mark.stat().st_size else None


def _jobs(home: Home, settings: Settings) -> tuple[Job, ...]:
    keep = settings.backup
    ourselves = (sys.executable, "-P", "-m", "appliance", "--config", str(home.config), "--state", str(home.state))
    log = str(home.logs / _LOG)
    return tuple(
        Job(command, (*ourselves, "backup", command), log, str(_mark(home, command)), keep.at, days)
        for command, days in zip(COMMANDS, (1, keep.verify_days, keep.drill_days), strict=True)
    )


def _planned(home: Home, job: Job, now: datetime, *, on: bool) -> Planned:
    mark = Path(job.mark)
    since = _time_of(mark) if mark.exists() else now
    return Planned(job.name, last_done(home, job.name), jobs.next_due(job, since, now) if on else None)


def _is_on(home: Home, settings: Settings) -> bool:
    keep = settings.backup
    return keep.to is not None and keep.scheduled and home.backup_key.exists()


def _mark(home: Home, command: str) -> Path:
    return home.backup / f"last-{command}"


def _time_of(mark: Path) -> datetime:
    return datetime.fromtimestamp(mark.stat().st_mtime).astimezone()
