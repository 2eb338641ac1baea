"""When work comes due: by the clock, after a machine that was off, and after a clock that was set."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from appliance.supervise import jobs
from appliance.supervise.jobs import Job, Jobs, is_due, last_due, next_due
from tests.support.box import wait_until

DAY = timedelta(days=1)


def at(text: str) -> datetime:
    """A moment of this machine's clock."""
    return datetime.fromisoformat(text).astimezone()


def job(days: int = 1, *argv: str, folder: Path = Path("/nowhere")) -> Job:
    """A job at half past two."""
    return Job("create", argv or ("true",), str(folder / "log"), str(folder / "mark"), "02:30", days)


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ("2026-03-02T02:29:59", "2026-03-01T02:30"),
        ("2026-03-02T02:30:00", "2026-03-02T02:30"),
        ("2026-03-02T23:00:00", "2026-03-02T02:30"),
    ],
)
def test_the_last_time_of_day(now: str, found: str) -> None:
    assert last_due("02:30", at(now)) == at(found)


@pytest.mark.parametrize(
    ("days", "last", "now", "due"),
    [
        (1, "2026-03-01T14:00", "2026-03-02T02:29", False),
        (1, "2026-03-01T14:00", "2026-03-02T02:30", True),
        (1, "2026-03-02T02:31", "2026-03-02T23:59", False),
        # The machine was off at night.
        (1, "2026-03-02T02:31", "2026-03-03T09:00", True),
        (1, "2026-03-03T09:01", "2026-03-03T17:00", False),
        (7, "2026-03-01T14:00", "2026-03-07T02:31", False),
        (7, "2026-03-01T14:00", "2026-03-08T02:31", True),
        (7, "2026-03-08T02:40", "2026-03-14T02:45", False),
        (7, "2026-03-08T02:40", "2026-03-15T02:31", True),
        # The clock was a year ahead when it last ran.
        (1, "2027-03-01T14:00", "2026-03-02T09:00", True),
        (7, "2026-03-02T09:30", "2026-03-02T09:00", False),
    ],
)
def test_due_or_not(days: int, last: str, now: str, due: bool) -> None:
    assert is_due(job(days), at(last), at(now)) is due


def test_when_it_comes_next() -> None:
    now = at("2026-03-03T12:00")
    assert next_due(job(1), at("2026-03-03T02:31"), now) == at("2026-03-04T02:30")
    assert next_due(job(7), at("2026-03-03T02:31"), now) == at("2026-03-10T02:30")
    assert next_due(job(1), at("2026-03-01T02:31"), now) == now


def test_it_does_what_is_due_and_only_that(tmp_path: Path) -> None:
    script = f"import pathlib; pathlib.Path('{tmp_path}/mark').write_text('x'); print('was here')"
    one = job(1, sys.executable, "-c", script, folder=tmp_path)
    jobs.write(tmp_path, (one,))
    assert jobs.read(tmp_path) == (one,)
    # Nothing was done yet: it begins with the next time of day.
    jobs.main(tmp_path)
    assert not (tmp_path / "log").exists()
    long_ago = time.time() - 3 * 86_400
    os.utime(tmp_path / "mark", (long_ago, long_ago))
    jobs.main(tmp_path)
    assert (tmp_path / "log").read_text() == "was here\n"
    jobs.main(tmp_path)
    assert (tmp_path / "log").read_text() == "was here\n"


def test_what_failed_is_tried_again_an_hour_later(tmp_path: Path) -> None:
    jobs.write(tmp_path, (job(1, sys.executable, "-c", "print('no'); raise SystemExit(1)", folder=tmp_path),))
    long_ago = time.time() - 3 * 86_400
    (tmp_path / "mark").touch()
    os.utime(tmp_path / "mark", (long_ago, long_ago))
    for _ in range(2):
        jobs.main(tmp_path)
    assert (tmp_path / "log").read_text() == "no\n"
    an_hour_ago = time.time() - 3601
    os.utime(tmp_path / "mark.tried", (an_hour_ago, an_hour_ago))
    jobs.main(tmp_path)
    assert (tmp_path / "log").read_text() == "no\nno\n"


@pytest.mark.parametrize("text", ["", "{}", '[{"name": 1}]', "[1]"])
def test_a_list_that_is_none_has_no_jobs(tmp_path: Path, text: str) -> None:
    (tmp_path / jobs.JOBS).write_text(text)
    assert jobs.read(tmp_path) == ()


def test_the_end_ends_what_is_under_way(tmp_path: Path) -> None:
    script = f"import pathlib, time; pathlib.Path('{tmp_path}/began').touch(); time.sleep(60)"
    jobs.write(tmp_path, (job(1, sys.executable, "-c", script, folder=tmp_path),))
    (tmp_path / "mark").touch()
    os.utime(tmp_path / "mark", (0, 0))
    running = Jobs(tmp_path)
    assert running.step(0.0)
    child = running._child
    assert child is not None
    wait_until((tmp_path / "began").exists, 20, "its start")
    running.end()
    assert child.returncode == -signal.SIGTERM
