"""The processes as services of systemd, where the installer has put the units: start, change, end, look.

Which process runs how is in the list as ever; each unit is only told its name in it. Only root may have systemd do
anything, and anybody may look.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.errors import ApplianceError
from appliance.store.privilege import as_root
from appliance.supervise.process import last_lines
from appliance.supervise.spec import ProcessSpec, ProcessState, Report, digest_of, specs_from_json
from appliance.supervise.tries import read_tries, write_tries
from appliance.supervise.units import SHOWN, Unit, read_shown, resources, state_of

UNITS: Final = Path("/etc/systemd/system")
TARGET: Final = "appliance.target"
STATE: Final = Path("/var/lib/appliance")
# systemd itself keeps the processes up.
SUPERVISOR: Final = 1
# Longer than any service takes to end.
_ASK_S = 120.0


def manages(run: Path) -> bool:
    """Whether the processes of a run folder are services of this system."""
    return run == STATE / "run" and (UNITS / TARGET).exists() and Path("/run/systemd/system").is_dir()


def is_closed_to_us(run: Path) -> bool:
    """Whether the state of the services is for root and themselves only, and this process is neither."""
    return manages(run) and not os.access(run.parent, os.R_OK | os.W_OK | os.X_OK)


def supervisor() -> int | None:
    """Who keeps the services up: systemd, from `start` to `stop`; None when they are stopped."""
    (found,) = read_shown(_ask("show", "--property=ActiveState", TARGET))
    return SUPERVISOR if found["ActiveState"] == "active" else None


def report(run: Path, data: bytes) -> Report:
    """All services, those of the list first and in its order; `data` is the list as it is in its file."""
    specs = {spec.name: spec for spec in specs_from_json(data)}
    units = {unit_of(name): name for name in specs}
    shown = read_shown(_ask("show", f"--property={SHOWN}", *units, "appliance-*.service"))
    found = {unit.id: unit for unit in map(Unit.read, shown)}
    up = supervisor() is not None
    ours = [_state(run, specs[name], found.get(unit, Unit(unit)), up=up) for unit, name in units.items()]
    others = [_leaving(unit) for unit in found.values() if unit.id not in units and unit.is_there]
    return Report(SUPERVISOR, given_up=False, processes=(*ours, *others), list_digest=digest_of(data))


def start(run: Path, specs: tuple[ProcessSpec, ...]) -> None:
    """Have systemd start these and no others, now and with the machine; returns at once. Raises process-failed."""
    wanted = [unit_of(spec.name) for spec in specs]
    for spec in specs:
        write_tries(run, spec.name, 0)
    # What they did before is told no more.
    _tell("reset-failed", "appliance-*.service")
    _enable(wanted, [unit for unit in _enabled() if unit not in wanted])
    for spec in specs:
        _limit(spec)
    _tell("start", "--no-block", TARGET, *wanted)


def change(run: Path, old: tuple[ProcessSpec, ...], new: tuple[ProcessSpec, ...]) -> None:
    """Go over to another list: what stands on it unchanged is left alone. Raises process-failed."""
    before = {spec.name: spec for spec in old}
    kept = {spec.name for spec in new}
    ends = [unit_of(name) for name in before if name not in kept]
    begins = [spec for spec in new if before.get(spec.name) != spec]
    for spec in begins:
        write_tries(run, spec.name, 0)
        _limit(spec)
    _enable([unit_of(spec.name) for spec in begins], ends)
    for action, units in (("stop", ends), ("restart", [unit_of(spec.name) for spec in begins])):
        if units:
            _tell(action, "--no-block", *units)


def stop() -> None:
    """End all services; they start again with the machine. Raises process-failed."""
    _tell("stop", TARGET, "appliance-*.service")


def unit_of(name: str) -> str:
    """The unit that runs a process: its own, else it is an engine's."""
    own = f"appliance-{name}.service"
    return own if (UNITS / own).exists() else f"appliance-engine@{name}.service"


def _state(run: Path, spec: ProcessSpec, unit: Unit, *, up: bool) -> ProcessState:
    state = state_of(unit, read_tries(run, spec.name), up=up)
    return ProcessState(
        name=spec.name,
        state=state,
        pid=unit.pid or None,
        restarts=unit.restarts,
        since=unit.since(time.time_ns() // 1000, time.monotonic_ns() // 1000),
        prioritized=_prioritized(unit.pid, spec.nice),
        exit_code=unit.exit_code,
        last_lines=last_lines(Path(spec.log)) if state == "failed" else (),
    )


def _leaving(unit: Unit) -> ProcessState:
    """One that is not on the list any more, and not gone yet."""
    name = unit.id.removesuffix(".service").removeprefix("appliance-").removeprefix("engine@")
    since = unit.since(time.time_ns() // 1000, time.monotonic_ns() // 1000)
    return ProcessState(name=name, state="ending", pid=unit.pid or None, restarts=unit.restarts, since=since)


def _prioritized(pid: int, nice: int) -> bool:
    try:
        return pid == 0 or os.getpriority(os.PRIO_PROCESS, pid) <= nice
    except ProcessLookupError:
        return True


def _enabled() -> list[str]:
    folder = UNITS / f"{TARGET}.wants"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def _enable(units: list[str], no_more: list[str]) -> None:
    if no_more:
        _tell("disable", "--quiet", "--now", "--no-block", *no_more)
    if units:
        _tell("enable", "--quiet", *units)


def _limit(spec: ProcessSpec) -> None:
    found = resources(spec)
    if found:
        _tell("set-property", unit_of(spec.name), *found)


def _ask(*words: str) -> str:
    return _systemctl(words, None)


def _tell(*words: str) -> None:
    _systemctl(words, as_root)


def _systemctl(words: tuple[str, ...], before: Callable[[], None] | None) -> str:
    command = ["systemctl", *words]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_ASK_S, preexec_fn=before, cwd="/"
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ApplianceError("process-failed", f"systemctl could not be run: {error}.", "Try it again.") from error
    if done.returncode:
        raise ApplianceError(
            "process-failed",
            f"systemctl {words[0]} failed: {done.stderr.strip() or done.returncode}.",
            "See: systemctl status 'appliance*'",
        )
    return done.stdout
