"""One supervised process: start it, watch it, end it."""

from __future__ import annotations

import ctypes
import http.client
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
from appliance.units import MIB, now_us

_PROBE_S = 1.0
_PR_SET_PDEATHSIG = 1
_LOG_LIMIT = 16 * MIB
_LAST_LINES = 12

# Loaded before the fork: between fork and exec nothing may be imported.
_libc = ctypes.CDLL(None, use_errno=True)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_PROBE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_PROBE_S)
        self.sock.connect(self._path)


def answers(probe: Probe) -> bool:
    """Whether a probe's address answers 200 now."""
    connection: http.client.HTTPConnection
    if probe.socket is not None:
        connection = _UnixConnection(probe.socket)
    else:
        connection = http.client.HTTPConnection(probe.host or "127.0.0.1", probe.port, timeout=_PROBE_S)
    try:
        connection.request("GET", probe.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


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
        self._next_try = 0.0
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

    def step(self, now: float) -> None:
        """Start it if it is due, notice that it has become ready, or that it has ended."""
        if self._child is None:
            if now >= self._next_try:
                self._start(now)
            return
        code = self._child.poll()
        if code is not None:
            self._ended(code, now)
        elif self._ready_at is None:
            if answers(self.spec.probe):
                self._ready_at = now
                self._enter("ready")
            elif now - self._started > self.spec.start_s:
                self._child.kill()

    def tidy(self) -> None:
        """Keep the log within its limit: the child goes on in the emptied file, the rest moves to `.old`."""
        log = Path(self.spec.log)
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            shutil.copyfile(log, log.with_suffix(".log.old"))
            os.truncate(log, 0)

    def signal(self, number: int) -> None:
        """Send a signal to it and to all that it started."""
        if self._child is not None and self._child.poll() is None:
            try:
                os.killpg(self._child.pid, number)
            except ProcessLookupError:
                return

    def gone(self) -> bool:
        """Whether it has ended."""
        return self._child is None or self._child.poll() is not None

    def _start(self, now: float) -> None:
        for name in self.spec.stale:
            Path(name).unlink(missing_ok=True)
        with Path(self.spec.log).open("ab") as log:
            try:
                self._child = subprocess.Popen(
                    self.spec.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **self.spec.environment},
                    start_new_session=True,
                    preexec_fn=_prepare_child(os.getpid(), self.spec.nice),
                )
            except OSError as error:
                log.write(f"{self.spec.argv[0]} could not be started: {error}\n".encode())
                self._ended(127, now)
                return
        self._started = now
        self._ready_at = None
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
        self._failures = failures_after(self._failures, ready_s)
        self._restarts += 1
        self._next_try = now + delay_s(self._failures)
        self._enter("failed" if self._failures >= FAILURES_UNTIL_FAILED else "restarting")

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
        # Ends with the supervisor, even when that is killed; unless it is gone already.
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    return prepare


def last_lines(log: Path, count: int = _LAST_LINES) -> tuple[str, ...]:
    """The last lines of a log; none when there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            return tuple(line.decode("utf-8", "replace") for line in file.read().splitlines()[-count:])
    except FileNotFoundError:
        return ()
