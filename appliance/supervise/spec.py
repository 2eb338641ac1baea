"""What the supervisor needs to know of a process, and what it reports: values only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP address that answers 200 once a process is ready: on a UNIX `socket`, or on `host` and `port`."""

    path: str
    socket: str | None = None
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep up.

    `nice` is its priority, lower is sooner; where raising it is not allowed the process runs
    all the same. `stale` are files that a killed predecessor may have left and that would
    stop a start. `start_s` is how long it may take until its probe answers, `stop_s` how long it
    may take to end when it is told to.
    """

    name: str
    argv: tuple[str, ...]
    probe: Probe
    log: str
    nice: int = 0
    stale: tuple[str, ...] = ()
    start_s: float = 60.0
    stop_s: float = 15.0


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process as the supervisor sees it. `state` is waiting, starting, ready, restarting, failed or ended.

    `restarts` counts since the supervisor began, `since` is when the state began
    (microseconds since 1970 UTC), `prioritized` whether the wished priority was allowed,
    `last_lines` the end of its log when it failed.
    """

    name: str
    state: str
    pid: int | None
    restarts: int
    since: int
    prioritized: bool = True
    exit_code: int | None = None
    last_lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All processes of one supervisor. `given_up` is true when the start was abandoned."""

    supervisor: int
    given_up: bool
    processes: tuple[ProcessState, ...]

    @property
    def all_ready(self) -> bool:
        return all(process.state == "ready" for process in self.processes)


def specs_to_json(specs: tuple[ProcessSpec, ...]) -> str:
    """The list that `python -m appliance.supervise` reads."""
    return json.dumps([asdict(spec) for spec in specs], indent=2)


def specs_from_json(text: str) -> tuple[ProcessSpec, ...]:
    """Read what `specs_to_json` wrote."""
    return tuple(
        ProcessSpec(
            **{**item, "argv": tuple(item["argv"]), "stale": tuple(item["stale"]), "probe": Probe(**item["probe"])}
        )
        for item in json.loads(text)
    )


def report_to_json(report: Report) -> str:
    """The file in which a supervisor reports."""
    return json.dumps(asdict(report))


def report_from_json(text: str) -> Report:
    """Read what `report_to_json` wrote."""
    data: dict[str, Any] = json.loads(text)
    processes = tuple(ProcessState(**{**item, "last_lines": tuple(item["last_lines"])}) for item in data["processes"])
    return Report(supervisor=data["supervisor"], given_up=data["given_up"], processes=processes)
