"""One process of a list as a service of systemd: becomes that process, and leaves a small watcher beside it.

    python -m appliance.supervise.tend RUN_DIR NAME

The watcher asks the process as its users would, tells systemd once it is ready, and then gives signs of life for as
long as it answers. A process that hangs gets none, and systemd starts it anew; so it does when the watcher is gone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from appliance.config.paths import notify_socket, without_notify_socket
from appliance.supervise.backoff import FAILURES_UNTIL_FAILED, SETTLED_S, delay_s
from appliance.supervise.held import is_held
from appliance.supervise.notify import tell
from appliance.supervise.process import answers, environment, tidy_log
from appliance.supervise.spec import ProcessSpec, specs_from_json
from appliance.supervise.tries import read_tries, write_tries
from appliance.supervise.where import LIST

_STARTING_S = 0.1
_STEADY_S = 2.0
# A machine that is busy answers late, and that is no reason to start anything anew.
_PROBE_S = 5.0
_PR_SET_PDEATHSIG = 1


def main(run: Path, name: str) -> None:
    """Become the process `name` of the list in a folder. Raises OSError or ValueError."""
    spec = next((one for one in specs_from_json((run / LIST).read_bytes()) if one.name == name), None)
    if spec is None:
        raise ValueError(f"there is no process {name} in {run / LIST}")
    _log_to(spec.log)
    tries = read_tries(run, name)
    write_tries(run, name, tries + 1)
    if tries:
        time.sleep(delay_s(tries))
    for file in spec.stale:
        Path(file).unlink(missing_ok=True)
    told = environment(spec.environment)
    systemd = notify_socket()
    parent = os.getpid()
    if os.fork() == 0:
        _Watcher(run, spec, systemd, parent).work()
    without_notify_socket()
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, spec.nice)
    if told is None:
        os.execv(spec.argv[0], spec.argv)
    os.execve(spec.argv[0], spec.argv, told)


class _Watcher:
    """What stays beside a process: it ends with that."""

    def __init__(self, run: Path, spec: ProcessSpec, systemd: str, process: int) -> None:
        # A session of its own: who stops the process's group for a moment, as a backup does, does not stop this.
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        self._run, self._spec, self._systemd, self._process = run, spec, systemd, process
        self._began = time.monotonic()

    def work(self) -> None:
        """Watch until the process is gone."""
        ready_at: float | None = None
        while os.getppid() == self._process:
            tidy_log(Path(self._spec.log))
            if answers(self._spec.probe, _PROBE_S) or (ready_at and is_held(self._run, self._spec.name)):
                if ready_at is None:
                    ready_at = time.monotonic()
                    tell(self._systemd, "READY=1")
                tell(self._systemd, "WATCHDOG=1")
            elif ready_at is None and time.monotonic() - self._began > self._spec.start_s:
                self._overdue()
            if (
                ready_at is not None
                and time.monotonic() - ready_at > SETTLED_S
                and read_tries(self._run, self._spec.name)
            ):
                write_tries(self._run, self._spec.name, 0)
            time.sleep(_STARTING_S if ready_at is None else _STEADY_S)
        raise SystemExit

    def _overdue(self) -> None:
        """One that had all its time to become ready will not with another try: that counts as all of them."""
        write_tries(self._run, self._spec.name, FAILURES_UNTIL_FAILED)
        line = f"{self._spec.name} was not ready after {self._spec.start_s:g} s, and was ended\n"
        os.write(1, line.encode())
        os.kill(self._process, signal.SIGKILL)


def _log_to(log: str) -> None:
    """From here on all that is said goes to the process's own log."""
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(opened, 1)
    os.dup2(opened, 2)
    os.close(opened)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
