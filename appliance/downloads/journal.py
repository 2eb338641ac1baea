"""Which pieces of a partial file are safely on the disk.

A text file: one line of JSON that says what is being fetched, then a line for each finished
piece. A line is only written once its piece has been synced, so after a power cut the journal
may know too little and never too much.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Subject:
    """What is being fetched: its version as the server names it (`""`: it does not), its size, bytes a piece."""

    version: str
    size: int
    piece: int

    @property
    def pieces(self) -> int:
        """How many pieces it has; the last one may be shorter."""
        return -(-self.size // self.piece)


class Journal:
    """The journal of one partial file."""

    def __init__(self, path: Path, subject: Subject) -> None:
        """Go on with the journal that is there when it speaks of the same thing, else begin a new one."""
        self._file = path.open("a+b", buffering=0)
        self._file.seek(0)
        text = self._file.read()
        # What follows the last line end was torn off by a crash.
        whole = text[: text.rfind(b"\n") + 1]
        known = _parse(whole, subject)
        self._file.truncate(0 if known is None else len(whole))
        if known is None:
            self._file.write(json.dumps(asdict(subject)).encode() + b"\n")
        # As it was when it was opened.
        self.finished = frozenset(known or ())

    def add(self, pieces: Iterable[int]) -> None:
        """Note pieces that have been synced; on the disk when it returns."""
        self._file.write("".join(f"{piece}\n" for piece in sorted(pieces)).encode())
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Close the file; what was noted stays."""
        self._file.close()


def _parse(text: bytes, subject: Subject) -> set[int] | None:
    """The finished pieces, or None when this is no journal of that subject."""
    with suppress(ValueError, TypeError):
        head, *rest = text.splitlines()
        if Subject(**json.loads(head)) == subject:
            return {piece for piece in map(int, rest) if 0 <= piece < subject.pieces}
    return None
