"""CPU time and memory of a process and all its descendants, read from /proc."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# Places in /proc/PID/stat, counted from the field after the command's name (proc(5)).
_PARENT = 1
_CPU_TICKS = slice(11, 15)  # own user and system time, then that of children waited for
_START_TICKS = 19


@dataclass(frozen=True)
class Process:
    """One process; the start time tells it from a later one with the same id."""

    pid: int
    start_ticks: int


def tree(root: int) -> frozenset[Process]:
    """The process with the id `root` and all its descendants; empty when it has ended."""
    stats = {int(entry.name): _stat(int(entry.name)) for entry in _PROC.glob("[0-9]*")}
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        if fields:  # else it ended while we looked
            children.setdefault(int(fields[_PARENT]), []).append(pid)
    found: set[Process] = set()
    to_visit = [root]
    while to_visit:
        pid = to_visit.pop()
        fields = stats.get(pid, [])
        if fields:
            found.add(Process(pid, int(fields[_START_TICKS])))
            to_visit += children.get(pid, [])
    return frozenset(found)


def cpu_seconds(root: int) -> float:
    """User and system time of the tree in seconds, in steps of a clock tick (mostly 10 ms).

    The time of a child that has ended moves to the parent that waited for it: the sum never falls.
    """
    ticks = 0
    for process in tree(root):
        ticks += sum(int(field) for field in _stat(process.pid)[_CPU_TICKS])
    return ticks / _TICKS_PER_SECOND


def pss_mib(root: int) -> float:
    """Proportional set size of the tree in MiB: a page shared by n processes counts 1/n in each."""
    return _memory(root, "Pss:") / 1024


def own_mib(root: int) -> float:
    """The part of that which is no file's, in MiB: what the tree has taken for its data.

    Of a file's pages, the programs and libraries above all, the share changes whenever any process on the machine that
    has mapped them too begins or ends. For growth that is noise.
    """
    return (_memory(root, "Pss:") - _memory(root, "Pss_File:")) / 1024


def _memory(root: int, name: str) -> int:
    """The sum of one line of smaps_rollup over the tree, in KiB."""
    kib = 0
    for process in tree(root):
        for line in _read(process.pid, "smaps_rollup").splitlines():
            if line.startswith(name):
                kib += int(line.split()[1])
    return kib


def stop(root: int, patience: float = 10.0) -> None:
    """Ends a process that we started, and its descendants: SIGTERM to the root, then SIGKILL.

    SIGKILL goes to what is left of them after `patience` seconds. A zombie counts as ended: the
    caller that started the process waits for it.
    """
    family = tree(root)
    _send(root, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and any(_alive(process) for process in family):
        time.sleep(0.02)
    for process in family:
        if _alive(process):
            _send(process.pid, signal.SIGKILL)


def kill(root: int) -> None:
    """SIGKILL to a process that we started and to its descendants, the root first: nobody gets to clean up."""
    for process in sorted(tree(root), key=lambda process: process.pid != root):
        _send(process.pid, signal.SIGKILL)


def _alive(process: Process) -> bool:
    fields = _stat(process.pid)
    return bool(fields) and int(fields[_START_TICKS]) == process.start_ticks and fields[0] != "Z"


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _stat(pid: int) -> list[str]:
    """What /proc/PID/stat holds after the command's name (which may hold blanks); empty: ended."""
    return _read(pid, "stat").rpartition(")")[2].split()


def _read(pid: int, name: str) -> str:
    try:
        return (_PROC / str(pid) / name).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it ended between the listing and the reading
