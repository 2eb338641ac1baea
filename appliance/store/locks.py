"""Locks between processes that a crash cannot leave behind.

POSIX record locks: the kernel drops them with the process, and tells who holds one, so no
process id is ever read from a file that may be stale.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_S = 0.02

# struct flock on 64-bit Linux: l_type, l_whence, (padding), l_start, l_len, l_pid, (padding)
_FLOCK = "hhxxxxqqixxxx"


class Lock:
    """An exclusive lock on a file, held until `release` or the end of this process."""

    def __init__(self, path: Path, *, fleeting: bool = False) -> None:
        """A `fleeting` lock's file is removed when it is given back."""
        self._path = path
        self._fleeting = fleeting
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Take the lock; False when another process holds it."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(handle)
            return False
        if self._fleeting and not self._is_still_there(handle):
            # Its last holder removed it between our opening and our locking it.
            os.close(handle)
            return self.acquire()
        self._handle = handle
        return True

    def _is_still_there(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give the lock back."""
        if self._handle is not None:
            if self._fleeting:
                self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._handle = None


@contextmanager
def turn(path: Path, *, fleeting: bool = False) -> Iterator[None]:
    """Hold the lock on a file, for something short: waits until nobody else does."""
    lock = Lock(path, fleeting=fleeting)
    while not lock.acquire():
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.release()


def holder(path: Path) -> int | None:
    """The process id that holds the lock on a file; None when nobody does."""
    try:
        # For reading: asking is allowed where the state folder cannot be written.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        request = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(handle, fcntl.F_GETLK, request))
    finally:
        os.close(handle)
    return None if kind == fcntl.F_UNLCK else int(pid)
