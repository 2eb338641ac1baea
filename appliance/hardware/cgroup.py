"""How much memory a container leaves us: the limits of our cgroup and of all that it lies in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from appliance.hardware.tree import HOST, Tree, number, text


class Limit(NamedTuple):
    """What one cgroup allows, and how much of it is in use, in bytes."""

    most: int
    used: int


class _Files(NamedTuple):
    """How a version of the memory controller names its files."""

    most: str
    used: str
    cache: str


_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("memory.max", "memory.current", "inactive_file")


def within(total: int, available: int, tree: Tree = HOST) -> tuple[int, int]:
    """The host's total and available memory, cut to what the cgroups of this process allow."""
    limits = memory_limits(tree)
    return (
        min([total, *(limit.most for limit in limits)]),
        min([available, *(max(0, limit.most - limit.used) for limit in limits)]),
    )


def memory_limits(tree: Tree = HOST) -> list[Limit]:
    """The memory limits that hold for this process, innermost first; none where nothing limits it."""
    found: list[Limit] = []
    for line in text(tree.proc / "self/cgroup").splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if "memory" in controllers.split(","):
            found += _limits(tree.sys / "fs/cgroup/memory", path, _V1)
        elif not controllers:
            found += _limits(tree.sys / "fs/cgroup", path, _V2)
    return found


def _limits(mount: Path, path: str, files: _Files) -> Iterator[Limit]:
    """The limits from a cgroup up to the root of its mount: the tightest one counts.

    In a container the mount may begin at our own cgroup while the path is still the host's. Its folders are
    then not there, and the root's file is ours.
    """
    inner = PurePosixPath(path.lstrip("/"))
    for folder in [] if ".." in inner.parts else [inner, *inner.parents]:
        most = number(mount / folder / files.most)
        if most is not None:
            used = number(mount / folder / files.used) or 0
            yield Limit(most, used - min(used, _cache(mount / folder / "memory.stat", files.cache)))


def _cache(file: Path, name: str) -> int:
    """Bytes of files read long ago: the kernel counts them as used, but gives them up for the asking.

    Without this a container that has once read a model's file would seem to be full.
    """
    rows = (line.split() for line in text(file).splitlines())
    return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == name and row[1].isdigit()), 0)
