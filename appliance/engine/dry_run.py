"""llama.cpp's own estimate of a model's memory, made without loading it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from appliance.engine.arguments import EnginePlan, memory_arguments
from appliance.errors import ApplianceError
from appliance.units import MIB

_TAKES_S = 120


@dataclass(frozen=True, slots=True)
class DryRun:
    """Bytes in one memory (`Host` or a device), rounded to MiB. On the host `model` leaves out what is mapped."""

    memory: str
    model: int
    context: int
    compute: int


def dry_run(binary: Path, plan: EnginePlan) -> tuple[DryRun, ...]:
    """What llama-fit-params says with the same arguments. Raises engine-failed when it says nothing of use."""
    command = [
        str(binary), "--model", plan.file, "--ctx-size", str(plan.context * plan.slots), "--parallel", str(plan.slots),
        *memory_arguments(plan), "--fit-print", "on",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TAKES_S, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(str(error)) from error
    found = read(done.stdout)
    if done.returncode or not found:
        raise _failed((done.stderr.strip().splitlines() or ["it says nothing"])[-1])
    return found


def read(said: str) -> tuple[DryRun, ...]:
    """The table that llama-fit-params prints: memory, model, context, compute, in MiB."""
    found = []
    for line in said.splitlines():
        *name, model, context, compute = line.split() if len(line.split()) >= 4 else ("", "x", "x", "x")
        if name and all(word.isdecimal() for word in (model, context, compute)):
            found.append(DryRun(" ".join(name), int(model) * MIB, int(context) * MIB, int(compute) * MIB))
    return tuple(found)


def _failed(why: str) -> ApplianceError:
    return ApplianceError(
        "engine-failed", f"llama-fit-params failed: {why[:300]}.", "Run the installer again: it mends the engine."
    )
