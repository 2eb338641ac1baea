"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


class Staged:
    """What a file is to hold next, in a temporary file beside it: `file` takes it, `put` makes it the file."""

    def __init__(self, path: Path, mode: int = 0o644) -> None:
        self._path = path
        self._mode = mode
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        self._temporary: Path | None = Path(name)
        self.file = os.fdopen(handle, "wb")

    def sync(self) -> None:
        """Close it and have it on the disk: what can fail for want of room has then been done."""
        self.file.flush()
        os.fchmod(self.file.fileno(), self._mode)
        os.fsync(self.file.fileno())
        self.file.close()

    def put(self, *, for_good: bool = True) -> None:
        """Rename it over the file. Unless `for_good`, a power cut may bring the old one back, whole."""
        assert self._temporary is not None
        self._temporary.replace(self._path)
        self._temporary = None
        if for_good:
            sync_folder(self._path.parent)

    def discard(self) -> None:
        """Remove it, unless it has been put."""
        # On a full disk closing fails once more, for what is still in the buffer.
        with suppress(OSError):
            self.file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Replace a file with what the block writes; a block that fails leaves it as it was."""
    staged = Staged(path, mode)
    try:
        yield staged.file
        staged.sync()
        staged.put()
    finally:
        staged.discard()


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file: temporary file in the same folder, fsync, rename, fsync of the folder."""
    with replacing(path, mode) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
