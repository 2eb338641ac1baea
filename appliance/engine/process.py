"""llama-server as a process to keep up."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from appliance.engine.arguments import READERS, EnginePlan, server_arguments
from appliance.supervise.spec import Probe, ProcessSpec
from appliance.units import MIB

# Its threads wait for each other, so busy neighbours at the same priority cost it most of its speed; much more than
# this, and everything else would hardly get to run while it answers. See docs/decisions/0004.
_NICE = -4
# What reads texts in bulk gives way to whoever waits for an answer; being lower is allowed to everybody.
_READING_NICE = 6
# Reading and repacking a large model from a slow disk.
_START_S = 900.0
# An engine that takes half as much again as planned, and this, is out of hand: better it ends than another program.
_SPARE = 1024 * MIB
# What engines are known by in a list of processes.
PROGRAM: Final = "llama-server"


def engine_process(binary: Path, plan: EnginePlan, log: Path, name: str = "", room: int | None = None) -> ProcessSpec:
    """The process of one engine, by its role unless it has a name of its own; `room` is what it was planned to take."""
    return ProcessSpec(
        name=name or plan.role,
        argv=server_arguments(str(binary), plan),
        probe=Probe(path="/health", socket=plan.socket),
        log=str(log),
        nice=_READING_NICE if plan.role in READERS else _NICE,
        # A killed server leaves its socket behind, and could not start over it.
        stale=(plan.socket,),
        start_s=_START_S,
        memory=None if room is None else room + room // 2 + _SPARE,
    )


def is_engine(spec: ProcessSpec) -> bool:
    """Whether a process of a list is an engine, and none of the box's faces to the outside."""
    return Path(spec.argv[0]).name == PROGRAM
