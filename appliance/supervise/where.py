"""The names of the supervisor's files in a run folder, who supervises it, and how to hand it another list."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.store.files import write_atomic
from appliance.store.locks import holder
from appliance.supervise import systemd
from appliance.supervise.spec import (
    ProcessSpec,
    Report,
    digest_of,
    report_from_json,
    specs_from_json,
    specs_to_json,
)

LIST = "processes.json"
REPORT = "report.json"
LOCK = "supervisor.lock"


def supervisor_pid(run: Path) -> int | None:
    """The supervisor that works on a folder now; None when none does. 1 where that is systemd."""
    if systemd.manages(run):
        return systemd.supervisor()
    return holder(run / LOCK)


def read_report(run: Path) -> Report | None:
    """The last report in a folder, whoever wrote it; None when there is none, or only one of another version."""
    try:
        if systemd.manages(run):
            return systemd.report(run, (run / LIST).read_bytes())
        return report_from_json((run / REPORT).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, KeyError):
        return None


def reload(run: Path, specs: tuple[ProcessSpec, ...]) -> str:
    """Hand the supervisor of a folder another list, and return its digest.

    The list is taken once a report of that supervisor has the digest as its `list_digest`. Where none runs,
    the next one begins with this list. Safe to repeat. Raises process-failed, with nothing written, when the
    supervisor is in another container, where no signal reaches it.
    """
    if systemd.manages(run):
        return _change_services(run, specs)
    _reachable(run)
    data = specs_to_json(specs).encode()
    write_atomic(run / LIST, data, 0o600)
    # Asked only now: a supervisor that takes its lock after this reads the new list without being told.
    pid = _reachable(run)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
    return digest_of(data)


def _change_services(run: Path, specs: tuple[ProcessSpec, ...]) -> str:
    old = specs_from_json((run / LIST).read_bytes())
    data = specs_to_json(specs).encode()
    write_atomic(run / LIST, data, 0o600)
    if systemd.supervisor() is not None:
        systemd.change(run, old, specs)
    return digest_of(data)


def _reachable(run: Path) -> int | None:
    pid = supervisor_pid(run)
    if pid is not None and pid <= 0:
        # Numbers are the kernel's per container; 0 stands for one that we cannot see, and kill(0) would be ourselves.
        raise ApplianceError(
            "process-failed", "It was started in another container.", "Run the same command in that container."
        )
    return pid
