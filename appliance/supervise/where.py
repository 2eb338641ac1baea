"""The names of the supervisor's files in a run folder, and how to find out who supervises it."""

from __future__ import annotations

from pathlib import Path

from appliance.store.locks import holder
from appliance.supervise.spec import Report, report_from_json

LIST = "processes.json"
REPORT = "report.json"
LOCK = "supervisor.lock"


def supervisor_pid(run: Path) -> int | None:
    """The supervisor that works on a folder now; None when none does."""
    return holder(run / LOCK)


def read_report(run: Path) -> Report | None:
    """The last report in a folder, whoever wrote it; None when there is none, or only one of another version."""
    try:
        return report_from_json((run / REPORT).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None
