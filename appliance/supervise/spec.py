"""What the supervisor needs to know of a process, and what it reports: values only."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

_NONE = type(None)
_PROBE: dict[str, tuple[type, ...]] = {
    "path": (str,),
    "socket": (str, _NONE),
    "host": (str, _NONE),
    "port": (int, _NONE),
    "kind": (str,),
}
_SPEC: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "argv": (list,),
    "probe": (dict,),
    "log": (str,),
    "nice": (int,),
    "stale": (list,),
    "start_s": (int, float),
    "stop_s": (int, float),
    "environment": (str, _NONE),
    "memory": (int, _NONE),
}
# How much of a wrong value is shown.
_EXCERPT = 60


@dataclass(frozen=True, slots=True)
class Probe:
    """An HTTP address that answers 200 once a process is ready: on a UNIX `socket`, or on `host` and `port`.

    Of the `kind` `connect` it is enough that somebody listens there: for a process that does not speak HTTP.
    """

    path: str
    socket: str | None = None
    host: str | None = None
    port: int | None = None
    kind: str = "http"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep up.

    `nice` is its priority, lower is sooner; where raising it is not allowed the process runs
    all the same. `stale` are files that a killed predecessor may have left and that would
    stop a start. `start_s` is how long it may take until its probe answers, `stop_s` how long it
    may take to end when it is told to. `environment` is a file of the process's whole environment, a JSON table,
    read at each start: for what must stand neither in an argument nor in this list. Else it is ours.
    `memory` is the most it may take, in bytes, where the system can see to that; None for no such limit.
    """

    name: str
    argv: tuple[str, ...]
    probe: Probe
    log: str
    nice: int = 0
    stale: tuple[str, ...] = ()
    start_s: float = 60.0
    stop_s: float = 15.0
    environment: str | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One process as the supervisor sees it.

    `state` is waiting, starting, ready, restarting, failed or ended; or ending, for one that is no longer on
    the list and not gone yet.
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
    """All processes of one supervisor: those on its list, in that order, then those that were taken off and end.

    `given_up` is true when the start was abandoned. `list_digest` says which list that is, as `digest_of` has it;
    empty in the report of a supervisor that only ever reads its first list.
    """

    supervisor: int
    given_up: bool
    processes: tuple[ProcessState, ...]
    list_digest: str = ""

    @property
    def all_ready(self) -> bool:
        """Whether all on the list are ready, whatever is still ending beside them."""
        return all(process.state in ("ready", "ending") for process in self.processes)

    @property
    def settled(self) -> bool:
        """Whether all on the list are ready and nothing else is left."""
        return all(process.state == "ready" for process in self.processes)


def specs_to_json(specs: tuple[ProcessSpec, ...]) -> str:
    """The list that `python -m appliance.supervise` reads."""
    return json.dumps([asdict(spec) for spec in specs], indent=2)


def specs_from_json(text: str | bytes) -> tuple[ProcessSpec, ...]:
    """Read what `specs_to_json` wrote. Raises ValueError, with the reason in one line, for anything else."""
    items = json.loads(text)
    if not isinstance(items, list):
        raise ValueError("it is not a list")
    specs = tuple(_spec(item) for item in items)
    if len({spec.name for spec in specs}) < len(specs):
        raise ValueError("two processes have the same name")
    return specs


def digest_of(data: bytes) -> str:
    """What a list is known by: the SHA-256 of its file, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def report_to_json(report: Report) -> str:
    """The file in which a supervisor reports."""
    return json.dumps(asdict(report))


def report_from_json(text: str) -> Report:
    """Read what `report_to_json` wrote."""
    data: dict[str, Any] = json.loads(text)
    processes = tuple(ProcessState(**{**item, "last_lines": tuple(item["last_lines"])}) for item in data["processes"])
    return Report(
        supervisor=data["supervisor"],
        given_up=data["given_up"],
        processes=processes,
        list_digest=data.get("list_digest", ""),
    )


def _spec(item: Any) -> ProcessSpec:
    """One process of a list. A value of the wrong type would only show while processes run, so it is refused here."""
    fields = _checked(item, _SPEC)
    texts = (*fields["argv"], *fields["stale"])
    if not fields["argv"] or not all(isinstance(text, str) for text in texts):
        raise ValueError("argv and stale are lists of texts, and argv is not empty")
    probe = Probe(**_checked(fields["probe"], _PROBE))
    return ProcessSpec(**{**fields, "argv": tuple(fields["argv"]), "stale": tuple(fields["stale"]), "probe": probe})


def _checked(item: Any, shape: dict[str, tuple[type, ...]]) -> dict[str, Any]:
    if not isinstance(item, dict) or set(item) != set(shape):
        raise ValueError(f"where {', '.join(shape)} should be, there is {str(item)[:_EXCERPT]!r}")
    for name, types in shape.items():
        if not isinstance(item[name], types):
            raise ValueError(f"{name} cannot be {str(item[name])[:_EXCERPT]!r}")
    return item
