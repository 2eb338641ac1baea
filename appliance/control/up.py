"""`appliance up` and `appliance down`: start everything, end everything."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.chat import prepare
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control import lan, running, schedule
from appliance.control.changing import run_these
from appliance.control.plan import Plan, make_plan
from appliance.control.switch import TURN, forget, recover
from appliance.engine.process import is_engine
from appliance.errors import ApplianceError
from appliance.store import handover, maintenance, schema
from appliance.store.files import write_atomic
from appliance.store.locks import turn
from appliance.supervise import systemd
from appliance.supervise.spec import ProcessSpec, Report, specs_to_json
from appliance.supervise.where import LIST, read_report, supervisor_pid
from appliance.units import now_us

_POLL_S = 0.05
# A supervisor that was told to end gives each process 15 s.
_DOWN_S = 60.0
# The time that a predecessor's port may take to become free.
_PORT_S = 1.0
# What everybody may take instead, and nothing of ours has.
_FREE = {443: 8443, 80: 8081}

# Ports below are for root, and for services that were given the right.
_LOW_PORTS = 1024

# What it was started with.
SETTINGS = "settings.json"
# An update has started only a part.
HELD_BACK = "held-back"
_WITH_DOORS = ("serve", "identity")

Told = Callable[[Report], None]


@dataclass(frozen=True, slots=True)
class Start:
    """How `up` ended well: whether it was up before, and whether what runs differs from the settings."""

    report: Report
    was_up: bool
    outdated: bool


def up(home: Home, settings: Settings, told: Told) -> Start:
    """Start what the plan says and return once all of it is ready.

    Safe to call when it is up, and by two at once: they wait for the same start. `told` hears
    each change. Raises port-taken, process-failed, and what planning raises; then nothing of a
    start is left running.
    """
    home.prepare()
    plan = make_plan(home, settings)
    # One `up` at a time decides whether to start; the next then finds it started.
    with turn(home.run / TURN):
        was_up = supervisor_pid(home.run) is not None
        if was_up:
            recover(home, settings.gateway)
        outdated = was_up and _read(home.run / SETTINGS) != _made_from(settings)
        if not was_up:
            _start(home, settings, plan)
        elif (home.run / HELD_BACK).exists() and not maintenance.is_ours(home.maintenance):
            run_these(home, plan.processes)
            (home.run / HELD_BACK).unlink()
    try:
        return Start(_wait_ready(home, told), was_up, outdated)
    except ApplianceError:
        # A supervisor of ours gives up by itself.
        if not was_up and systemd.manages(home.run):
            systemd.stop()
        raise


def attach(home: Home, settings: Settings) -> subprocess.Popen[bytes]:
    """Start what the plan says and return its supervisor, for a caller that stays with it.

    Raises already-serving, port-taken, and what planning raises; then nothing of it is left running.
    """
    if systemd.manages(home.run):
        raise ApplianceError(
            "wrong-use",
            "Here the appliance runs as services of the system, and not attached to a command.",
            "Start it with `appliance up`; `appliance logs -f` shows what it says.",
        )
    home.prepare()
    plan = make_plan(home, settings)
    # One `up` at a time decides whether to start; the next then finds it started.
    with turn(home.run / TURN):
        if supervisor_pid(home.run) is not None:
            raise ApplianceError(
                "already-serving", "It is up already, in the background.", "End that with `appliance down` first."
            )
        _prepare(home, settings, plan)
        return _supervisor(home)


def failure(home: Home) -> ApplianceError:
    """Why the last supervisor gave up, with the last words of the process that does not stay up."""
    return _failure(read_report(home.run))


def down(home: Home) -> bool:
    """End what `up` started; False when nothing ran. Raises process-failed when it will not end."""
    pid = supervisor_pid(home.run)
    if pid is None:
        return False
    if systemd.manages(home.run):
        systemd.stop()
        return True
    if pid <= 0:
        # Numbers are the kernel's per container; 0 stands for one that we cannot see, and kill(0) would be ourselves.
        raise ApplianceError(
            "process-failed", "It was started in another container.", "Run `appliance down` in that container."
        )
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_S
    while supervisor_pid(home.run) == pid:
        if time.monotonic() > deadline:
            raise ApplianceError(
                "process-failed",
                f"The supervisor (process {pid}) does not end.",
                f"Look at `appliance logs`, then run: kill -9 {pid}",
            )
        time.sleep(_POLL_S)
    return True


def _start(home: Home, settings: Settings, plan: Plan) -> None:
    """Have it all kept up by this system's services, or by a supervisor of ours where there are none."""
    _prepare(home, settings, plan)
    if systemd.manages(home.run):
        systemd.start(home.run, _to_start(home, plan))
    else:
        _supervisor(home)


def _prepare(home: Home, settings: Settings, plan: Plan) -> None:
    """Port, schema, deployment, list."""
    forget(home)
    _check_port(settings.gateway.host, settings.gateway.port, "gateway.port")
    if settings.identity.enabled:
        _check_port(settings.identity.host, settings.identity.port, "identity.port")
    if settings.chat.enabled:
        _check_port(settings.chat.host, settings.chat.port, "chat.port")
    # The service that listens there may use low ports, whoever asks for it.
    for host, port, setting in lan.ports(settings):
        if port >= _LOW_PORTS or not systemd.manages(home.run):
            _check_port(host, port, setting)
    schema.ensure(home.database)
    prepare.prepare(home, settings)
    lan.prepare(home, settings)
    handover.write(home.deployment, replace(plan.deployment, serial=now_us()))
    running.write(home, plan.engines)
    schedule.renew(home, settings)
    write_atomic(home.run / LIST, specs_to_json(_to_start(home, plan)).encode(), 0o600)
    note_settings(home, settings)


def _supervisor(home: Home) -> subprocess.Popen[bytes]:
    """The supervisor, on its own, so that it outlives this command."""
    command = [sys.executable, "-P", "-m", "appliance.supervise", str(home.run)]
    with (home.logs / "supervisor.log").open("ab") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
        )
    try:
        while supervisor_pid(home.run) is None and child.poll() is None:
            time.sleep(_POLL_S)
    except BaseException:
        child.terminate()
        raise
    return child


def _to_start(home: Home, plan: Plan) -> tuple[ProcessSpec, ...]:
    """All processes; as a part of an update those alone that can keep people out. The next `up` starts the others."""
    if not maintenance.is_ours(home.maintenance):
        (home.run / HELD_BACK).unlink(missing_ok=True)
        return plan.processes
    write_atomic(home.run / HELD_BACK, b"", 0o600)
    return tuple(one for one in plan.processes if is_engine(one) or one.name in _WITH_DOORS)


def note_settings(home: Home, settings: Settings) -> None:
    """Say that what runs is what these settings ask for."""
    write_atomic(home.run / SETTINGS, _made_from(settings).encode(), 0o600)


def is_outdated(home: Home, settings: Settings) -> tuple[bool, bool]:
    """Whether what runs was started from another release, and whether from other settings than these.

    Neither where nobody has said what it was started from.
    """
    try:
        before, now = json.loads(_read(home.run / SETTINGS) or ""), json.loads(_made_from(settings))
        return before["release"] != now["release"], before["settings"] != now["settings"]
    except (ValueError, TypeError, KeyError):
        return False, False


def _made_from(settings: Settings) -> str:
    """What a start is made from, kept to tell whether that has changed since."""
    return json.dumps({"settings": settings.model_dump(mode="json"), "release": sys.prefix})


def _read(file: Path) -> str | None:
    try:
        return file.read_text()
    except FileNotFoundError:
        return None


def _wait_ready(home: Home, told: Told) -> Report:
    """Wait until all are ready. Raises process-failed with the last lines of the one that is not."""
    seen: Report | None = None
    missing_since = time.monotonic()
    while True:
        report = read_report(home.run)
        pid = supervisor_pid(home.run)
        if pid is not None:
            missing_since = time.monotonic()
        if report is not None and report != seen and report.supervisor == pid:
            seen = report
            told(report)
            if report.all_ready:
                return report
            if not report.given_up and any(process.state == "failed" for process in report.processes):
                # It was up once, so the rest goes on and this one is still tried: nothing to wait for.
                raise _failure(report)
        if pid is None and time.monotonic() - missing_since > 1.0:
            raise _failure(report)
        time.sleep(_POLL_S)


def _failure(report: Report | None) -> ApplianceError:
    failed = [process for process in report.processes if process.state == "failed"] if report else []
    if not failed:
        return ApplianceError("process-failed", "The supervisor ended.", "Look at `appliance logs supervisor`.")
    lines = "\n".join(f"  | {line}" for line in failed[0].last_lines)
    return ApplianceError(
        "process-failed",
        f"'{failed[0].name}' does not stay up (exit code {failed[0].exit_code}). Its last words:\n{lines}\n",
        f"Mend what they say, then `appliance up`. More: `appliance logs {failed[0].name}`.",
    )


def _check_port(host: str, port: int, setting: str) -> None:
    """Raises port-taken, unless the port becomes free within seconds (a predecessor that is ending)."""
    deadline = time.monotonic() + _PORT_S
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
                return
            except PermissionError as error:
                raise ApplianceError(
                    "port-not-allowed",
                    f"This account may not listen on port {port}, which is below 1024.",
                    f"Allow it once: echo net.ipv4.ip_unprivileged_port_start=80 | sudo tee "
                    f"/etc/sysctl.d/50-appliance.conf && sudo sysctl --system. Or set another {setting}, such as "
                    f"{_FREE.get(port, port + 8000)}, in the settings.",
                ) from error
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                    raise ApplianceError(
                        "port-taken",
                        f"Port {port} on {host} cannot be used: {error.strerror}.",
                        f"End the program that uses it, or set another {setting} in the settings.",
                    ) from error
        time.sleep(_POLL_S)
