"""Where the kernel shows the machine as files. Tests put folders of their own in its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tree:
    """The folders in which Linux tells what the machine has."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")


HOST = Tree()


def text(file: Path) -> str:
    """What a file says; empty when it is not there or will not say."""
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def number(file: Path) -> int | None:
    """The whole number in a file, decimal or 0x...; None for anything else, such as `max`."""
    try:
        return int(text(file), 0)
    except ValueError:
        return None
