"""How much memory and processor time a container leaves us: the limits of our cgroup and of all that it lies in."""

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
    for folder, is_v1 in _cgroups("memory", tree):
        files = _V1 if is_v1 else _V2
        most = number(folder / files.most)
        if most is not None:
            used = number(folder / files.used) or 0
            found.append(Limit(most, used - min(used, _cache(folder / "memory.stat", files.cache))))
    return found


def cores_within(cores: int, tree: Tree = HOST) -> int:
    """So many cores, cut to those whose time the cgroups of this process allow; at least one.

    More threads than that would all be stopped together once the time of a period is used up.
    """
    shares = [_share(folder, is_v1) for folder, is_v1 in _cgroups("cpu", tree)]
    return max(1, min([cores, *(int(share) for share in shares if share is not None)]))


def _share(folder: Path, is_v1: bool) -> float | None:
    """Seconds of processor time in a second; None where nothing limits it."""
    if is_v1:
        quota, period = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
    else:
        words = text(folder / "cpu.max").split()
        quota, period = (int(word) if word.isdigit() else None for word in (words if len(words) == 2 else ("", "")))
    return quota / period if quota is not None and quota > 0 and period else None


def _cgroups(controller: str, tree: Tree) -> Iterator[tuple[Path, bool]]:
    """The folders of the cgroups that we lie in, from the innermost to the root of its mount, and whether of version 1.

    In a container the mount may begin at our own cgroup while the path is still the host's. Its folders are
    then not there, and the root's file is ours.
    """
    for line in text(tree.proc / "self/cgroup").splitlines():
        names, _, path = line.partition(":")[2].partition(":")
        is_v1 = controller in names.split(",")
        if names and not is_v1:
            continue
        mount = tree.sys / "fs/cgroup" / (controller if is_v1 else "")
        inner = PurePosixPath(path.lstrip("/"))
        for folder in [] if ".." in inner.parts else [inner, *inner.parents]:
            yield mount / folder, is_v1


def _cache(file: Path, name: str) -> int:
    """Bytes of files read long ago: the kernel counts them as used, but gives them up for the asking.

    Without this a container that has once read a model's file would seem to be full.
    """
    rows = (line.split() for line in text(file).splitlines())
    return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == name and row[1].isdigit()), 0)
