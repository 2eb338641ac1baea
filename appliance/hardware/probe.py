"""Read the hardware facts of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from appliance.hardware.facts import Hardware


def probe() -> Hardware:
    """This machine, less what a container or an affinity mask takes away."""
    fields = dict(_cpu_fields())
    usable = len(os.sched_getaffinity(0))
    return Hardware(
        cpu_model=fields.get("model name", "unknown"),
        cpu_flags=frozenset((fields.get("flags") or fields.get("Features", "")).split()),
        cores=min(psutil.cpu_count(logical=False) or usable, usable),
        memory=min(psutil.virtual_memory().total, _cgroup_limit()),
    )


def _cpu_fields() -> list[tuple[str, str]]:
    """The fields of the first processor in /proc/cpuinfo."""
    first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _cgroup_limit() -> int:
    """The memory limit of this process's cgroup in bytes, v2; no limit is a very large one."""
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return 1 << 62
    return int(text) if text.isdigit() else 1 << 62
