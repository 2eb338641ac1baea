"""How often in a row a service has failed: a number in a file, since each try is a process of its own."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def read_tries(run: Path, name: str) -> int:
    """Starts since a process last stayed up for long; 0 where nobody has counted."""
    try:
        return int(_file(run, name).read_text())
    except (OSError, ValueError):
        return 0


def write_tries(run: Path, name: str, count: int) -> None:
    """Keep the number. On a full disk it is left as it is: that must not keep a process from starting."""
    with suppress(OSError):
        _file(run, name).write_text(str(count))


def _file(run: Path, name: str) -> Path:
    return run / f"{name}.tries"
