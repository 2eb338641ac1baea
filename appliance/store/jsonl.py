"""A file of lines that only grows: a line that `append` has returned for survives whatever comes."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


class JsonLines:
    """Lines of JSON on disk, opened to be gone on with. What a kill or a power cut left torn at the end is cut off."""

    def __init__(self, path: Path, whole: Callable[[bytes], bool]) -> None:
        """`whole` is handed each line, and says whether it is one; from the first that is not, all is cut off."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._size = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or not whole(line):
                    break
                self._size += len(line)
        os.ftruncate(self._file, self._size)
        self._using = threading.Lock()

    def append(self, line: bytes) -> None:
        """Add a line, and have it on the disk. Raises OSError; the file then has what it had before."""
        data = line + b"\n"
        with self._using:
            if self._file < 0:
                raise OSError(errno.EBADF, "the file was closed")
            # What an earlier failure may have left behind the last whole line.
            os.ftruncate(self._file, self._size)
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, data[done:], self._size + done)
            os.fdatasync(self._file)
            self._size += len(data)

    def close(self) -> None:
        """Let go of the file, once an `append` on another thread has ended."""
        with self._using:
            os.close(self._file)
            self._file = -1


def lines_of(path: Path, longest: int) -> Iterator[bytes]:
    """The lines of a file, one at a time, with their ends; of one that is longer, its first `longest` + 1 bytes come,
    and nothing after them."""
    with path.open("rb") as file:
        while line := file.readline(longest + 1):
            yield line
            if len(line) > longest:
                return
