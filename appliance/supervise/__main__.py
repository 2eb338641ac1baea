"""The supervisor: keeps the processes of a list up, in order, until it is told to end.

    python -m appliance.supervise RUN_DIR

Reads RUN_DIR/processes.json, and again on SIGHUP; reports in RUN_DIR/report.json, and holds
RUN_DIR/supervisor.lock for as long as it lives: there is one per folder. A child ends with
its supervisor, whatever ends that. What RUN_DIR/jobs.json says is done when it is due.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

from appliance.store.files import write_atomic
from appliance.store.locks import Lock
from appliance.supervise.jobs import Jobs
from appliance.supervise.process import Process
from appliance.supervise.spec import ProcessSpec, Report, digest_of, report_to_json, specs_from_json
from appliance.supervise.where import LIST, LOCK, REPORT

_TICK_S = 0.1
_IDLE_TICK_S = 1.0
_END = (signal.SIGTERM, signal.SIGINT)
_WAKE = {*_END, signal.SIGHUP, signal.SIGCHLD}

# Without a handler of its own, a warning is one bare line on standard error, which is the supervisor's log.
_log = logging.getLogger(__name__)


class Supervisor:
    """Runs one list of processes, and takes another while it runs."""

    def __init__(self, run: Path) -> None:
        """Raises OSError or ValueError when there is no list to begin with."""
        self._list_file = run / LIST
        self._report_file = run / REPORT
        specs, self._digest = self._read()
        self._processes = [Process(spec) for spec in specs]
        # Taken off the list and told to end, but not gone yet.
        self._retiring: list[Process] = []
        self._jobs = Jobs(run)
        self._reported = ""
        self._was_up = False
        self._given_up = False

    def work(self) -> int:
        """Start in order, keep up, and end in reverse order on SIGTERM or SIGINT. Returns the exit code."""
        woken: int | None = None
        while woken not in _END and not self._given_up:
            if woken == signal.SIGHUP:
                self._take_list()
            self._advance()
            if self._was_up:
                self._jobs.step(time.monotonic())
            self._report()
            woken = self._wait()
        self._jobs.end()
        self._end()
        self._report()
        return 1 if self._given_up else 0

    def _read(self) -> tuple[tuple[ProcessSpec, ...], str]:
        data = self._list_file.read_bytes()
        return specs_from_json(data), digest_of(data)

    def _take_list(self) -> None:
        """Go over to the list as it is now: what stands on it unchanged is left alone."""
        try:
            specs, digest = self._read()
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("%s is not taken, nothing changes: %s", self._list_file, error)
            return
        old = {process.spec.name: process for process in self._processes}
        kept = {spec.name: old.pop(spec.name) for spec in specs if spec.name in old and old[spec.name].spec == spec}
        self._processes = [kept.get(spec.name) or Process(spec) for spec in specs]
        self._digest = digest
        # Last first, as at the end; all at once, because the others are watched meanwhile.
        for process in reversed(old.values()):
            process.retire(time.monotonic())
            self._retiring.append(process)

    def _advance(self) -> None:
        now = time.monotonic()
        self._let_go(now)
        # A successor has the same socket, port and log: it starts once its predecessor is gone.
        taken = {process.spec.name for process in self._retiring}
        in_order = True
        for process in self._processes:
            process.step(now, may_start=in_order and process.spec.name not in taken)
            process.tidy()
            if self._was_up:
                continue
            if process.failed:
                # Nobody has been served yet, so failing loudly beats trying for ever.
                self._given_up = True
            in_order = in_order and process.ready
        self._was_up = self._was_up or in_order

    def _let_go(self, now: float) -> None:
        """See to it that what was taken off the list ends; forget what is gone."""
        for process in self._retiring:
            process.insist(now)
            process.tidy()
        self._retiring = [process for process in self._retiring if not process.gone()]

    def _wait(self) -> int | None:
        """Sleep until something happens or is due; the signal that came, if one did."""
        steady = not self._retiring and all(process.ready for process in self._processes)
        found = signal.sigtimedwait(_WAKE, _IDLE_TICK_S if steady else _TICK_S)
        return None if found is None else found.si_signo

    def _end(self) -> None:
        """Ask each to end, last first, each with its own time of grace; then insist."""
        for process in (*reversed(self._processes), *self._retiring):
            process.end(time.monotonic())
            while not process.gone() and not process.lost(time.monotonic()):
                process.insist(time.monotonic())
                self._let_go(time.monotonic())
                signal.sigtimedwait({signal.SIGCHLD}, _TICK_S)
            process.conclude()
            self._let_go(time.monotonic())
            self._report()

    def _report(self) -> None:
        states = tuple(process.state() for process in (*self._processes, *self._retiring))
        report = Report(os.getpid(), self._given_up, states, self._digest)
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
