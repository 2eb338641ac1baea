"""A mark that changes whenever a command writes the database, for those who keep what they read of it.

Eight random bytes in a file of their own, shared by memory mapping: looking whether they have
changed costs a tenth of a microsecond, asking the database fifty times that.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

_SIZE = 8


def _file(database: Path) -> Path:
    return database.with_name(f"{database.name}-generation")


def change(database: Path) -> None:
    """Change the mark. Before a commit and after it: then nobody keeps what was true only in between."""
    handle = os.open(_file(database), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(handle, os.urandom(_SIZE), 0)
    finally:
        os.close(handle)


class Generation:
    """The mark of one database, as another process sees it."""

    def __init__(self, database: Path) -> None:
        if not _file(database).exists() or _file(database).stat().st_size < _SIZE:
            change(database)
        with _file(database).open("rb") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE, prot=mmap.PROT_READ)

    def now(self) -> bytes:
        """The mark at this moment."""
        return self._map[:]

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()
