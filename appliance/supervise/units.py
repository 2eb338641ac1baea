"""What systemd says of a unit, and what that means for a process; what a process may take: pure rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.supervise.backoff import FAILURES_UNTIL_FAILED
from appliance.supervise.spec import ProcessSpec

SHOWN: Final = "Id,ActiveState,SubState,MainPID,NRestarts,ExecMainStatus,StateChangeTimestampMonotonic"
# The kernel gives each step of priority a quarter more of the processor than the next, and systemd counts from 100.
_STEP = 1.25
_USUAL = 100


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as systemd has it: `active` and `sub` are its states, `changed` is in microseconds since the boot."""

    id: str
    active: str = "inactive"
    sub: str = "dead"
    pid: int = 0
    restarts: int = 0
    exit_code: int | None = None
    changed: int = 0

    @staticmethod
    def read(said: dict[str, str]) -> Unit:
        """From what `systemctl show` said of the properties SHOWN."""
        return Unit(
            said["Id"],
            said["ActiveState"],
            said["SubState"],
            _number(said, "MainPID"),
            _number(said, "NRestarts"),
            _number(said, "ExecMainStatus"),
            _number(said, "StateChangeTimestampMonotonic"),
        )

    @property
    def is_there(self) -> bool:
        """Whether anything of it still runs, or is about to."""
        return self.active in ("active", "activating", "deactivating", "reloading")

    def since(self, now: int, uptime: int) -> int:
        """When its state began, in microseconds since 1970, as it is `now` and after this `uptime`."""
        return now - (uptime - self.changed) if self.changed else now


def read_shown(text: str) -> list[dict[str, str]]:
    """The units in what `systemctl show` wrote: lines NAME=VALUE, an empty one between two units."""
    blocks = (block.splitlines() for block in text.split("\n\n"))
    return [dict(line.split("=", 1) for line in block if "=" in line) for block in blocks if block]


def state_of(unit: Unit, tries: int, *, up: bool) -> str:
    """A process's state as `ProcessState` has it; `tries` is how often it began in a row, `up` whether it is wanted."""
    if unit.active == "active":
        return "ready"
    if not unit.is_there and unit.active != "failed":
        return "waiting" if up else "ended"
    # The last one is under way, unless it waits for its turn.
    failures = tries if unit.sub == "auto-restart" else tries - 1
    if unit.active == "failed" or failures >= FAILURES_UNTIL_FAILED:
        return "failed"
    if unit.active == "deactivating" and not up:
        return "ending"
    return "restarting" if unit.restarts or unit.active == "deactivating" else "starting"


def resources(spec: ProcessSpec) -> list[str]:
    """What a unit is given of the machine besides what its file says, as `systemctl set-property` takes it."""
    share = [f"CPUWeight={max(1, round(_USUAL * _STEP**-spec.nice))}"] if spec.nice else []
    return share + ([f"MemoryMax={spec.memory}"] if spec.memory is not None else [])


def _number(said: dict[str, str], name: str) -> int:
    text = said.get(name, "")
    return int(text) if text.isdecimal() else 0
