"""The supervisor: keeps the processes of a list up, in order, until it is told to end.

    python -m appliance.supervise RUN_DIR

Reads RUN_DIR/processes.json, reports in RUN_DIR/report.json, and holds
RUN_DIR/supervisor.lock for as long as it lives: there is one per folder. A child ends with
its supervisor, whatever ends that.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from appliance.store.files import write_atomic
from appliance.store.locks import Lock
from appliance.supervise.process import Process
from appliance.supervise.spec import Report, report_to_json, specs_from_json
from appliance.supervise.where import LIST, LOCK, REPORT

_TICK_S = 0.1
_IDLE_TICK_S = 1.0
# What was killed is gone within moments, unless a device or disk holds it.
_KILLED_S = 5.0
_WAKE = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


class Supervisor:
    """Runs one list of processes."""

    def __init__(self, run: Path) -> None:
        self._report_file = run / REPORT
        self._processes = [Process(spec) for spec in specs_from_json((run / LIST).read_text())]
        self._reported = ""
        self._was_up = False
        self._given_up = False

    def work(self) -> int:
        """Start in order, keep up, and end in reverse order on SIGTERM or SIGINT. Returns the exit code."""
        stop = False
        while not stop and not self._given_up:
            self._advance()
            self._report()
            stop = self._wait()
        self._end()
        self._report()
        return 1 if self._given_up else 0

    def _advance(self) -> None:
        now = time.monotonic()
        for process in self._processes:
            process.step(now)
            process.tidy()
            if self._was_up:
                continue
            if process.failed:
                # Nobody has been served yet, so failing loudly beats trying for ever.
                self._given_up = True
            if not process.ready:
                return
        self._was_up = True

    def _wait(self) -> bool:
        """Sleep until something happens or is due; True when it is time to end."""
        steady = all(process.ready for process in self._processes)
        found = signal.sigtimedwait(_WAKE, _IDLE_TICK_S if steady else _TICK_S)
        return found is not None and found.si_signo in (signal.SIGTERM, signal.SIGINT)

    def _end(self) -> None:
        """Ask each to end, last first, each with its own time of grace; then insist."""
        for process in reversed(self._processes):
            for number, grace_s in ((signal.SIGTERM, process.spec.stop_s), (signal.SIGKILL, _KILLED_S)):
                process.signal(number)
                deadline = time.monotonic() + grace_s
                while not process.gone() and time.monotonic() < deadline:
                    signal.sigtimedwait({signal.SIGCHLD}, _TICK_S)
            process.conclude()
            self._report()

    def _report(self) -> None:
        report = Report(os.getpid(), self._given_up, tuple(process.state() for process in self._processes))
        text = report_to_json(report)
        if text != self._reported:
            try:
                write_atomic(self._report_file, text.encode(), 0o600)
            except OSError:
                # A full disk must not take the processes down; the report is written when there is room.
                return
            self._reported = text


def main(run: Path) -> int:
    """Supervise the list in a folder; 0 at once when another supervisor already does."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _WAKE)
    lock = Lock(run / LOCK)
    if not lock.acquire():
        return 0
    (run / REPORT).unlink(missing_ok=True)
    try:
        return Supervisor(run).work()
    finally:
        lock.release()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
