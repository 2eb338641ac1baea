"""Read the hardware facts of this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from appliance.hardware import cgroup, drm, nvidia
from appliance.hardware.bandwidth import measure
from appliance.hardware.facts import ENGINE_FLAGS, Hardware
from appliance.hardware.tree import HOST, Tree


def probe(state: Path | None = None, *, thorough: bool = False, tree: Tree = HOST) -> Hardware:
    """This machine, less what a container or an affinity mask takes away.

    `state` names the folder whose disk counts. `thorough` takes most of a second longer: it measures the
    memory and asks `vulkaninfo` for names.
    """
    fields = dict(_cpu_fields(tree))
    usable = len(os.sched_getaffinity(0))
    cores = cgroup.cores_within(min(psutil.cpu_count(logical=False) or usable, usable), tree)
    host = psutil.virtual_memory()
    memory, available = cgroup.within(host.total, host.available, tree)
    nvidias, nvidia_problems = nvidia.find(memory, available, tree)
    others, other_problems = drm.find(memory, available, tree, drm.vulkan_names() if thorough else {})
    disk = shutil.disk_usage(_existing(state)) if state else None
    return Hardware(
        cpu_model=fields.get("model name", "unknown"),
        cpu_flags=ENGINE_FLAGS.intersection(fields.get("flags", "").split()),
        cores=cores,
        memory=memory,
        memory_available=available,
        memory_bandwidth=measure(cores, available) if thorough else None,
        numa_nodes=max(1, len(list((tree.sys / "devices/system/node").glob("node[0-9]*")))),
        disk_total=disk.total if disk else None,
        disk_free=disk.free if disk else None,
        gpus=(*nvidias, *others),
        problems=(*nvidia_problems, *other_problems),
    )


def _existing(folder: Path) -> Path:
    """A folder, or the nearest one above that is there: before the first start there is no state folder."""
    return next(path for path in [folder, *folder.parents] if path.exists())


def _cpu_fields(tree: Tree) -> list[tuple[str, str]]:
    """The fields of the first processor in /proc/cpuinfo."""
    first = (tree.proc / "cpuinfo").read_text().split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return [(name.strip(), value.strip()) for name, _, value in pairs]
