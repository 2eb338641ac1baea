"""One supervised process: start it, watch it, end it."""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from appliance.supervise.backoff import FAILURES_UNTIL_FAILED, delay_s, failures_after
from appliance.supervise.spec import Probe, ProcessSpec, ProcessState
from appliance.supervise.unix import UnixConnection
from appliance.units import MIB, now_us

_PROBE_S = 1.0
# What was killed is gone within moments, unless a device or disk holds it.
_KILLED_S = 5.0
_PR_SET_PDEATHSIG = 1
# The priority of a session's processes together against all others (sched(7)); missing where the kernel has none.
_AUTOGROUP = "/proc/self/autogroup"
_LOG_LIMIT = 16 * MIB
_LAST_LINES = 12
_LAST_BYTES = 64 * 1024

# Loaded before the fork: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None, use_errno=True)


def answers(probe: Probe, timeout_s: float = _PROBE_S) -> bool:
    """Whether a probe's address answers 200 now, or takes connections where that is enough."""
    if probe.kind == "connect":
        return _listens(probe, timeout_s)
    connection: http.client.HTTPConnection
    if probe.socket is not None:
        connection = UnixConnection(probe.socket, timeout_s)
    else:
        connection = http.client.HTTPConnection(probe.host or "127.0.0.1", probe.port, timeout=timeout_s)
    try:
        connection.request("GET", probe.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException, ValueError, OverflowError):
        # The last two are of an address that cannot be one: nothing answers there.
        return False
    finally:
        connection.close()


def _listens(probe: Probe, timeout_s: float) -> bool:
    """Whether somebody takes connections at a probe's address."""
    family = socket.AF_INET if probe.socket is None else socket.AF_UNIX
    address = (probe.host or "127.0.0.1", probe.port) if probe.socket is None else probe.socket
    with socket.socket(family) as opened:
        opened.settimeout(timeout_s)
        try:
            opened.connect(address)
        except (OSError, TypeError, OverflowError):
            return False
    return True


class Process:
    """One process of a list. `step` moves it on; it never blocks for longer than a probe."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self._child: subprocess.Popen[bytes] | None = None
        self._state = "waiting"
        self._since = now_us()
        self._failures = 0
        self._restarts = 0
        self._exit: int | None = None
        self._started = 0.0
        self._ready_at: float | None = None
        self._overdue = False
        self._next_try = 0.0
        self._kill_at: float | None = None
        self._prioritized = True

    @property
    def ready(self) -> bool:
        return self._state == "ready"

    @property
    def failed(self) -> bool:
        return self._state == "failed"

    def state(self) -> ProcessState:
        """What the supervisor reports of it."""
        return ProcessState(
            name=self.spec.name,
            state=self._state,
            pid=self._child.pid if self._child else None,
            restarts=self._restarts,
            since=self._since,
            prioritized=self._prioritized,
            exit_code=self._exit,
            last_lines=last_lines(Path(self.spec.log)) if self.failed else (),
        )

    def step(self, now: float, *, may_start: bool = True) -> None:
        """Start it if it is due and may, notice that it has become ready, or that it has ended."""
        if self._child is None:
            if may_start and now >= self._next_try:
                self._start(now)
            return
        code = _reaped(self._child)
        if code is not None:
            self._ended(code, now)
        elif self._ready_at is None and not self._overdue:
            if answers(self.spec.probe):
                self._ready_at = now
                self._enter("ready")
            elif now - self._started > self.spec.start_s:
                self._overdue = True
                self._note(f"{self.spec.name} was not ready after {self.spec.start_s:g} s, and was ended")
                self._child.kill()

    def tidy(self) -> None:
        """Keep the log within its limit: the child goes on in the emptied file, the rest moves to `.old`."""
        tidy_log(Path(self.spec.log))

    def retire(self, now: float) -> None:
        """Tell it to end because it is no longer wanted; `insist` sees to it that it does."""
        self.end(now)
        self._enter("ending")

    def end(self, now: float) -> None:
        """Tell it, and all that it started, to end. The first time counts: its grace is not prolonged."""
        if self._kill_at is None:
            self._kill_at = now + self.spec.stop_s
            self._signal(signal.SIGTERM)

    def insist(self, now: float) -> None:
        """Kill it if it was told to end and its time of grace is over."""
        if self._kill_at is not None and now >= self._kill_at:
            self._signal(signal.SIGKILL)

    def lost(self, now: float) -> bool:
        """Whether not even killing it has ended it."""
        return self._kill_at is not None and now >= self._kill_at + _KILLED_S and not self.gone()

    def kill(self) -> None:
        """End it, and all that it started, at once: for what has nothing to lose."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._child is not None and not self.gone():
            _signal_group(self._child.pid, number)

    def gone(self) -> bool:
        """Whether it has ended, and with it all that it started."""
        return self._child is None or _reaped(self._child) is not None

    def conclude(self) -> None:
        """Say of a process that was told to end that it has."""
        if not self.gone():
            return
        if self._child is not None:
            self._exit = self._child.returncode
            self._child = None
        if not self.failed and self._state != "waiting":
            self._enter("ended")

    def _start(self, now: float) -> None:
        self._started = now
        self._ready_at = None
        self._overdue = False
        try:
            for name in self.spec.stale:
                Path(name).unlink(missing_ok=True)
            with Path(self.spec.log).open("ab") as log:
                self._child = subprocess.Popen(
                    self.spec.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment(self.spec.environment),
                    start_new_session=True,
                    preexec_fn=_prepare_child(os.getpid(), self.spec.nice),
                )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._note(f"{self.spec.argv[0]} could not be started: {error}")
            self._ended(127, now)
            return
        self._prioritized = self._has_priority(self._child.pid)
        if self._failures < FAILURES_UNTIL_FAILED:
            self._enter("restarting" if self._restarts else "starting")

    def _has_priority(self, pid: int) -> bool:
        try:
            return os.getpriority(os.PRIO_PROCESS, pid) <= self.spec.nice
        except ProcessLookupError:
            return True

    def _ended(self, code: int, now: float) -> None:
        ready_s = None if self._ready_at is None else now - self._ready_at
        self._child = None
        self._ready_at = None
        self._exit = code
        # One that had all its time to become ready will not with another try: that counts as all of them.
        self._failures = max(failures_after(self._failures, ready_s), FAILURES_UNTIL_FAILED * self._overdue)
        self._restarts += 1
        self._next_try = now + delay_s(self._failures)
        self._enter("failed" if self._failures >= FAILURES_UNTIL_FAILED else "restarting")

    def _note(self, text: str) -> None:
        """Put a line of our own into its log, among its last words."""
        with suppress(OSError), Path(self.spec.log).open("ab") as log:
            log.write(text.encode() + b"\n")

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._since = now_us()


def _prepare_child(parent: int, nice: int) -> Callable[[], None]:
    """What the child does between fork and exec."""

    def prepare() -> None:
        # Here and not from outside: threads inherit it, and only those that start later.
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        # A session of its own is a scheduling group of its own, within which alone that priority counts.
        with suppress(OSError):
            _write(_AUTOGROUP, str(nice).encode())
        # Ends with the supervisor, even when that is killed; unless it is gone already. Killed and not
        # asked, because one that lingers would keep its port and memory from its successor.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return prepare


def environment(file: str | None) -> dict[str, str] | None:
    """What a file says that a process's environment is; None for ours. Raises OSError or ValueError."""
    if file is None:
        return None
    found = json.loads(Path(file).read_bytes())
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{file} is no table of texts")
    return found


def _write(file: str, data: bytes) -> None:
    opened = os.open(file, os.O_WRONLY)
    try:
        os.write(opened, data)
    finally:
        os.close(opened)


def _reaped(child: subprocess.Popen[bytes]) -> int | None:
    """A child's exit code once it has ended; what it started and left behind is killed then."""
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    if child.returncode is None and os.waitid(os.P_PID, child.pid, options) is not None:
        # Before it is reaped: until then its group's number cannot pass to a stranger.
        _signal_group(child.pid, signal.SIGKILL)
    return child.poll()


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def tidy_log(log: Path) -> None:
    """Empty a log that is over its limit; what it had moves to `.old`."""
    old = log.with_suffix(".log.old")
    with suppress(OSError):
        if log.stat().st_size <= _LOG_LIMIT:
            return
        try:
            shutil.copyfile(log, old)
        except OSError:
            # The disk is full: then the old lines are what it can do without.
            old.unlink(missing_ok=True)
        os.truncate(log, 0)


def last_lines(log: Path) -> tuple[str, ...]:
    """The last words of a log; none when it cannot be read."""
    try:
        with log.open("rb") as file:
            cut = max(0, file.seek(0, os.SEEK_END) - _LAST_BYTES)
            file.seek(cut)
            lines = file.read().splitlines()
    except OSError:
        return ()
    if cut and len(lines) > 1:
        del lines[0]
    return tuple(line.decode("utf-8", "replace") for line in lines[-_LAST_LINES:])
