"""`appliance hardware`: what this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import Json, home_of
from appliance.cli.output import document, write

if TYPE_CHECKING:
    from appliance.hardware.facts import Gpu, Hardware

Row = tuple[str, str]


def hardware(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="Show the facts that --json saved in this file.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what takes time: the memory's speed.")] = False,
    as_json: Json = False,
) -> None:
    """Show what this machine has: processor, memory, disk, graphics cards, and what cannot be used and why.

    Example: appliance hardware --json
    """
    from appliance.hardware.probe import probe
    from appliance.hardware.saved import load

    found = load(file) if file else probe(home_of(context).state, thorough=not quick)
    if as_json:
        document(found.to_json())
    else:
        write("".join(f"{name:<15}{text}".rstrip() + "\n" for name, text in rows(found)))


def rows(found: Hardware) -> Iterator[Row]:
    """The facts as a person reads them: what it is, and a few words. A row without a name belongs to the one above."""
    from appliance.units import show_bytes

    yield "Processor", f"{found.cpu_model}, {_count(found.cores, 'core')}"
    if found.numa_nodes > 1:
        yield "", f"in {found.numa_nodes} groups with memory of their own (NUMA)"
    yield "Memory", f"{show_bytes(found.memory)}, {show_bytes(found.memory_available)} free"
    if found.memory_bandwidth:
        yield "", f"read at {_speed(found.memory_bandwidth)} (measured)"
    if found.disk_total is not None and found.disk_free is not None:
        yield "Disk", f"{show_bytes(found.disk_total)}, {show_bytes(found.disk_free)} free"
    for gpu in found.gpus:
        yield from _gpu(gpu)
    if not found.gpus:
        yield "Graphics card", "none that can be used"
    for problem in found.problems:
        yield "Problem", f"{problem.subject}: {problem.reason}"


def _gpu(gpu: Gpu) -> Iterator[Row]:
    from appliance.units import show_bytes

    yield "Graphics card", gpu.name
    sizes = f"{show_bytes(gpu.memory_total)}, {show_bytes(gpu.memory_free)} free"
    where = {"discrete": "", "integrated": ", part of the computer's memory", "unified": ", shared with the processor"}
    yield "", f"{sizes if gpu.memory_total else 'size of its memory unknown'}{where[gpu.kind]}"
    for user in gpu.users:
        size = "an unknown amount" if user.bytes is None else show_bytes(user.bytes)
        yield "", f"{size} used by {user.name} (process {user.pid})"
    details = (
        gpu.bandwidth and f"memory at {_speed(gpu.bandwidth)}",
        gpu.power_limit_w and f"at most {gpu.power_limit_w} W",
        "drives a screen" if gpu.display else "no screen",
    )
    yield "", ", ".join(detail for detail in details if detail)
    versions = (
        gpu.driver and f"driver {gpu.driver}",
        gpu.cuda and f"CUDA {gpu.cuda}",
        gpu.compute_capability and f"compute capability {gpu.compute_capability}",
    )
    if any(versions):
        yield "", ", ".join(version for version in versions if version)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _speed(bytes_per_second: int) -> str:
    """A memory's speed as makers state it: in units of 1,000, not 1,024."""
    return f"{bytes_per_second / 1e9:,.0f} GB/s"
