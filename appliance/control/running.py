"""The file that says how each engine was planned, for whoever looks at it while it runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from appliance.config.paths import Home
from appliance.engine.arguments import EnginePlan, Options
from appliance.store.files import write_atomic


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


def _planned(item: dict[str, Any]) -> Planned:
    plan = item["plan"]
    return Planned(**{**item, "plan": EnginePlan(**{**plan, "options": Options(**plan["options"])})})


def _file(home: Home) -> Any:
    return home.run / "engines.json"
