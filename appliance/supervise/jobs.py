"""Work that comes due at a time of day: started by the supervisor, or by a timer of systemd, one after another.

    python -m appliance.supervise.jobs RUN_DIR

does what is due in RUN_DIR/jobs.json now, once. What was missed while the machine was off is done when it is on again.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from appliance.store.files import write_atomic

JOBS: Final = "jobs.json"
# What failed is tried again after this.
_AGAIN_S: Final = 3600.0
_LOOK_S: Final = 20.0
_TRIED: Final = ".tried"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A command at a time of day, `HH:MM` of this machine's clock, each so many `days`.

    `mark` is a file whose time is that of the last run that ended well, as the command itself notes it.
    """

    name: str
    argv: tuple[str, ...]
    log: str
    mark: str
    at: str
    days: int


def write(run: Path, jobs: tuple[Job, ...]) -> None:
    """Say what comes due from now on; whoever does it looks again by itself."""
    write_atomic(run / JOBS, json.dumps([asdict(job) for job in jobs], indent=2).encode(), 0o600)


def read(run: Path) -> tuple[Job, ...]:
    """What comes due; nothing where nobody has said, or another version has."""
    try:
        return tuple(Job(**{**item, "argv": tuple(item["argv"])}) for item in json.loads((run / JOBS).read_text()))
    except (OSError, ValueError, TypeError, KeyError):
        return ()


def last_due(at: str, now: datetime) -> datetime:
    """The last moment at or before now when the clock showed `at`."""
    hour, _, minute = at.partition(":")
    today = now.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def is_due(job: Job, last: datetime, now: datetime) -> bool:
    """Whether a job that last ran then is to run now. A clock that was set back does not put it off for ever."""
    moment = last_due(job.at, now) - timedelta(days=job.days - 1)
    return last < moment or last > now + timedelta(days=1)


def next_due(job: Job, last: datetime, now: datetime) -> datetime:
    """When a job that last ran then comes due next; now where it is due."""
    if is_due(job, last, now):
        return now
    moment = last_due(job.at, now)
    while not is_due(job, last, moment):
        moment += timedelta(days=1)
    return moment


class Jobs:
    """The jobs of a run folder, one at a time. `step` never blocks."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._child: subprocess.Popen[bytes] | None = None
        self._job: Job | None = None
        self._next_look = 0.0

    def step(self, now: float) -> bool:
        """Notice that a job has ended, and start one that is due; whether one is under way."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return True
            self._ended(code)
        if now >= self._next_look:
            self._next_look = now + _LOOK_S
            for job in self._due():
                self._start(job)
                # The next one is looked for as soon as this one has ended.
                self._next_look = now
                break
        return self._child is not None

    def end(self) -> None:
        """End the job that is under way: it leaves nothing half done, and is tried again."""
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(10)
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
            self._child = None

    def _due(self) -> Iterator[Job]:
        now = datetime.now().astimezone()
        for job in read(self._run):
            mark = Path(job.mark)
            with suppress(OSError):
                if not mark.exists():
                    # It begins with the next time of day, and not at once.
                    mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    mark.touch(0o600)
                elif is_due(job, _time_of(mark), now) and not _just_tried(mark):
                    yield job

    def _start(self, job: Job) -> None:
        tried = Path(job.mark + _TRIED)
        with suppress(OSError):
            tried.touch(0o600)
            os.utime(tried)
        try:
            with Path(job.log).open("ab") as log:
                self._child = subprocess.Popen(
                    job.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_unblock,
                )
            self._job = job
        except OSError as error:
            _log.warning("%s could not be started: %s", job.name, error)

    def _ended(self, code: int) -> None:
        assert self._job is not None
        if code != 0:
            _log.warning("%s failed (exit code %d); tried again in an hour: %s", self._job.name, code, self._job.log)
        self._child = self._job = None


def _unblock() -> None:
    """Between fork and exec: the supervisor has blocked the signals that it waits for."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _time_of(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime).astimezone()


def _just_tried(mark: Path) -> bool:
    tried = Path(f"{mark}{_TRIED}")
    return tried.exists() and 0 <= time.time() - tried.stat().st_mtime < _AGAIN_S


def main(run: Path) -> None:
    """Do what is due now, and wait for it."""
    jobs = Jobs(run)
    try:
        while jobs.step(time.monotonic()):
            time.sleep(0.2)
    finally:
        jobs.end()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(Path(sys.argv[1]))
