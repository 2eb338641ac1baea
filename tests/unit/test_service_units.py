"""What systemd says of a unit, as a process's state; and what a process is given of the machine."""

from __future__ import annotations

import pytest

from appliance.supervise.spec import Probe, ProcessSpec
from appliance.supervise.units import Unit, read_shown, resources, state_of

SHOWN = """Id=appliance-serve.service
ActiveState=active
SubState=running
MainPID=12
NRestarts=3
ExecMainStatus=0
StateChangeTimestampMonotonic=5000000

Id=appliance-lan.service
ActiveState=inactive
SubState=dead
MainPID=0
NRestarts=[not set]
ExecMainStatus=0
StateChangeTimestampMonotonic=0
"""


def test_what_systemd_shows_is_read() -> None:
    serve, lan = map(Unit.read, read_shown(SHOWN))
    assert serve == Unit("appliance-serve.service", "active", "running", 12, 3, 0, 5_000_000)
    assert lan.restarts == 0
    assert serve.since(now=100_000_000, uptime=7_000_000) == 98_000_000
    assert lan.since(now=100, uptime=7) == 100


@pytest.mark.parametrize(
    ("active", "sub", "restarts", "tries", "up", "state"),
    [
        ("active", "running", 0, 1, True, "ready"),
        ("activating", "start", 0, 1, True, "starting"),
        ("activating", "start", 1, 2, True, "restarting"),
        ("activating", "auto-restart", 1, 1, True, "restarting"),
        ("activating", "auto-restart", 5, 5, True, "failed"),
        # The sixth try is under way, and five have failed.
        ("activating", "start", 5, 6, True, "failed"),
        ("activating", "start", 4, 5, True, "restarting"),
        # Restarted often in its life, and long well: each count begins anew.
        ("activating", "start", 40, 1, True, "restarting"),
        ("deactivating", "stop-sigterm", 0, 1, True, "restarting"),
        ("deactivating", "stop-sigterm", 0, 1, False, "ending"),
        ("failed", "failed", 0, 1, True, "failed"),
        ("inactive", "dead", 0, 0, True, "waiting"),
        ("inactive", "dead", 0, 0, False, "ended"),
    ],
)
def test_a_units_state_is_that_of_its_process(
    active: str, sub: str, restarts: int, tries: int, up: bool, state: str
) -> None:
    assert state_of(Unit("x", active, sub, restarts=restarts), tries, up=up) == state


def test_priority_and_memory_are_the_units() -> None:
    spec = ProcessSpec("x", ("true",), Probe("/"), "x.log")
    assert resources(spec) == []
    assert resources(ProcessSpec("x", ("true",), Probe("/"), "x.log", nice=-4, memory=5)) == [
        "CPUWeight=244",
        "MemoryMax=5",
    ]
    assert resources(ProcessSpec("x", ("true",), Probe("/"), "x.log", nice=6)) == ["CPUWeight=26"]
