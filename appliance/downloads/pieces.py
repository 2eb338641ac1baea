"""The threads that fetch one version of a file, piece by piece.

Some pull: each takes the next piece that is missing. One hashes the front that is there without a
gap, reading it back from the page cache. One syncs what has landed and notes it in the journal.
Without ranges, one thread reads a single stream and skips what is there already.

A byte that has landed is never written again, so what was hashed is what is on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.downloads.journal import Journal, Subject
from appliance.downloads.retry import TRANSIENT, EndedError, Patience, Retry, check_status
from appliance.downloads.web import Line, Remote
from appliance.errors import ApplianceError
from appliance.units import KIB, MIB

Progress = Callable[[int, int], None]

# Small enough that a dropped line loses little, large enough that Python's share is small.
_BUFFER = 256 * KIB
_HASH_BUFFER = MIB
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """How a file is fetched: bytes a piece, ranges at once, seconds without a byte before a line counts as dead."""

    piece: int = 16 * MIB
    ranges: int = 4
    timeout_s: float = 30.0
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True, slots=True)
class Found:
    """What the server has: the file's version (`""`: it names none), its size, and whether it gives ranges."""

    version: str
    size: int
    ranges: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """What lies in the partial file now, synced: bytes and SHA-256."""

    size: int
    sha256: str


class ChangedError(Exception):
    """The server has another version of the file now."""


def version_of(response: http.client.HTTPResponse) -> str:
    """The version that an answer names."""
    return response.getheader("etag") or response.getheader("last-modified") or ""


def journal_of(partial: Path) -> Path:
    """Where the journal of a partial file lies."""
    return partial.with_suffix(".journal")


def discard(partial: Path) -> None:
    """Remove a partial file; its journal first, so that it never speaks of a file that is not there."""
    journal_of(partial).unlink(missing_ok=True)
    partial.unlink(missing_ok=True)


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Say what the disk refused. Raises disk-too-small or download-failed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ApplianceError(
                "disk-too-small", f"There is no room left in {path.parent}.", "Free some room and run it again."
            ) from error
        raise ApplianceError(
            "download-failed",
            f"{path} cannot be written: {error.strerror or error}.",
            "Look at the disk and its rights, then run it again.",
        ) from error


class Download:
    """One go at one version of a file."""

    def __init__(self, remote: Remote, partial: Path, found: Found, limits: Limits) -> None:
        self._origin = self._route = remote
        self._found, self._limits, self._partial = found, limits, partial
        self._subject = Subject(found.version, found.size, limits.piece)
        with on_disk(partial):
            self._file = _open(partial, found.size)
            self._journal = Journal(journal_of(partial), self._subject)
        missing = [piece for piece in range(self._subject.pieces) if piece not in self._journal.finished]
        if missing and not found.ranges:
            missing = list(range(missing[0], self._subject.pieces))
        self._landed = set(range(self._subject.pieces)) - set(missing)
        self._unnoted: set[int] = set()
        spans = [self._span(piece) for piece in missing]
        self._todo = deque(spans if found.ranges else [(start, found.size) for start, _ in spans[:1]])
        self._fetched = sum(end - start for start, end in map(self._span, self._landed))
        self._hashed, self._digest = 0, hashlib.sha256()
        self._lines = [Line(limits.timeout_s) for _ in range(limits.ranges if found.ranges else 1)]
        self._news = threading.Condition()
        self._stop = threading.Event()
        self._failure: BaseException | None = None

    def run(self, told: Progress, checking: Progress) -> Fetched:
        """Fetch, hash and sync; returns or raises once every thread has ended."""
        works = [(self._pull, line) for line in self._lines] + [(self._hash,), (self._note,)]
        threads = [threading.Thread(target=self._guarded, args=work, daemon=True) for work in works]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_POLL_S)
                    self._tell(told, checking)
        finally:
            self._end()
            # Ctrl-C may have come before all had begun.
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            self._journal.close()
            os.close(self._file)
        if self._failure is not None:
            raise self._failure
        return Fetched(self._found.size, self._digest.hexdigest())

    def _tell(self, told: Progress, checking: Progress) -> None:
        size = self._found.size
        told(self._fetched, size)
        if self._fetched == size:
            checking(self._hashed, size)

    def _guarded(self, work: Callable[..., None], *given: Line) -> None:
        """Run a thread's work: the first failure of any ends them all, and is the one that is told."""
        try:
            work(*given)
        except EndedError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            with self._news:
                if not self._stop.is_set():
                    self._failure = error
            self._end()

    def _end(self) -> None:
        with self._news:
            self._stop.set()
            self._todo.clear()
            self._news.notify_all()
        for line in self._lines:
            line.abort()

    def _span(self, piece: int) -> tuple[int, int]:
        start = piece * self._limits.piece
        return start, min(start + self._limits.piece, self._found.size)

    def _take(self) -> tuple[int, int] | None:
        with self._news:
            return self._todo.popleft() if self._todo else None

    def _pull(self, line: Line) -> None:
        """Fetch span after span until none is left, each as often as it breaks off, from where it broke off."""
        retry = Retry(self._limits.patience, self._origin.host, self._stop)
        buffer = memoryview(bytearray(_BUFFER))
        try:
            while span := self._take():
                at, end = span
                while at < end:
                    try:
                        for count in self._stream(line, at, end, buffer):
                            self._write(at, buffer[:count])
                            at += count
                            retry.progress()
                        if at < end:
                            raise ConnectionError("the line was cut")
                    except TRANSIENT as error:
                        line.close()
                        retry.wait(error)
        finally:
            line.close()

    def _stream(self, line: Line, at: int, end: int, buffer: memoryview) -> Iterator[int]:
        """Fill the buffer with what comes from `at` on, to `end` at most; yields how much each time."""
        response = self._ask(line, at, end)
        skip = 0 if self._found.ranges else at
        while skip and (count := response.readinto(buffer[:skip])):
            skip -= count
        while at < end and (count := response.readinto(buffer[: end - at])):
            at += count
            yield count

    def _ask(self, line: Line, at: int, end: int) -> http.client.HTTPResponse:
        """Request a range, or the whole file. Raises ChangedError when the answer is not that, of the same version."""
        route, version, size = self._route, self._found.version, self._found.size
        wish = {"Range": f"bytes={at}-{end - 1}"} if self._found.ranges else {}
        if wish and version.startswith('"'):
            wish["If-Range"] = version
        response, final = line.get(route, wish)
        try:
            check_status(response.status, response.getheader("retry-after"), self._origin.host)
        except ApplianceError as error:
            if route is self._origin:
                raise
            # The address that we were sent to may have expired: ask again where to go.
            self._route = self._origin
            raise ConnectionError(error.sentence) from error
        self._route = final
        if wish:
            as_asked = response.getheader("content-range") == f"bytes {at}-{end - 1}/{size}"
        else:
            as_asked = response.getheader("content-length") == str(size)
        if not as_asked or version_of(response) != version:
            raise ChangedError
        return response

    def _write(self, at: int, data: memoryview) -> None:
        """Put bytes into the file, and tell the others which pieces are whole with them."""
        if self._stop.is_set():
            raise EndedError
        with on_disk(self._partial):
            done = 0
            while done < len(data):
                done += os.pwrite(self._file, data[done:], at + done)
        end, piece = at + len(data), self._limits.piece
        # A span begins with a piece, so all between its begin and here is there.
        whole = range(at // piece, self._subject.pieces if end == self._found.size else end // piece)
        with self._news:
            self._fetched += len(data)
            if whole:
                self._landed.update(whole)
                self._unnoted.update(whole)
                self._news.notify_all()

    def _hash(self) -> None:
        """Hash piece after piece as the front moves on."""
        buffer = memoryview(bytearray(_HASH_BUFFER))
        for piece in range(self._subject.pieces):
            self._wait_for(piece)
            at, end = self._span(piece)
            while at < end:
                if self._stop.is_set():
                    raise EndedError
                with on_disk(self._partial):
                    count = os.preadv(self._file, [buffer[: end - at]], at)
                if count == 0:
                    raise ApplianceError(
                        "download-failed", f"{self._partial} was cut short by another program.", "Run it again."
                    )
                self._digest.update(buffer[:count])
                at += count
                self._hashed = at

    def _wait_for(self, piece: int) -> None:
        with self._news:
            self._news.wait_for(lambda: piece in self._landed or self._stop.is_set())

    def _note(self) -> None:
        """Sync what has landed, then note it; a last time when all ends, however it ends."""
        left = self._subject.pieces - len(self._landed)
        while left > 0:
            with self._news:
                self._news.wait_for(lambda: self._unnoted or self._stop.is_set())
                batch, self._unnoted = self._unnoted, set()
            if not batch:
                return
            with on_disk(self._partial):
                os.fdatasync(self._file)
                self._journal.add(batch)
            left -= len(batch)


def _open(partial: Path, size: int) -> int:
    """Open the partial file, with room for all of it; a journal of another file is removed first."""
    if is_new := not partial.exists() or partial.stat().st_size != size:
        discard(partial)
    handle = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)
    except BaseException:
        os.close(handle)
        if is_new:
            discard(partial)
        raise
    return handle
