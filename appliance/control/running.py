"""What runs: the file that says how each engine was planned, and the processes, for whoever looks at them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from appliance.config.paths import Home
from appliance.engine.arguments import EnginePlan, Options
from appliance.store.files import write_atomic
from appliance.supervise.where import read_report, supervisor_pid


@dataclass(frozen=True, slots=True)
class Planned:
    """One engine as planned; sizes in bytes.

    `host` and `gpu` are all that it takes there, `room` is what of the host's memory it needs to run well,
    `context` and `compute` are the parts that llama.cpp's dry run tells too. `off_gpu` says why it is not on the
    graphics cards that this machine and engine have; empty when it is, or there are none.
    """

    process: str
    plan: EnginePlan
    host: int
    room: int
    gpu: int
    context: int
    compute: int
    off_gpu: str = ""


def write(home: Home, engines: tuple[Planned, ...]) -> None:
    """Replace the file."""
    write_atomic(_file(home), json.dumps([asdict(one) for one in engines], indent=2).encode(), 0o600)


def read(home: Home) -> tuple[Planned, ...]:
    """What runs, as planned; none where nobody has said, or another version has."""
    try:
        return tuple(_planned(item) for item in json.loads(_file(home).read_text()))
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return ()


def pids(home: Home) -> dict[str, int]:
    """The processes of ours that are ready, by name."""
    report = read_report(home.run) if supervisor_pid(home.run) else None
    processes = report.processes if report else ()
    return {process.name: process.pid for process in processes if process.pid and process.state == "ready"}


def _planned(item: dict[str, Any]) -> Planned:
    plan = item["plan"]
    return Planned(**{**item, "plan": EnginePlan(**{**plan, "options": Options(**plan["options"])})})


def _file(home: Home) -> Any:
    return home.run / "engines.json"
