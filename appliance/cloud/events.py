"""The data of server-sent events, cut out of a stream of bytes: pure."""

from __future__ import annotations

import re
from typing import Final

from appliance.units import MIB

# A longer event is none: a provider that never ends one must not fill our memory.
LONGEST: Final = MIB
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class EndlessEventError(Exception):
    """An event that does not end."""


class Events:
    """Cuts a stream into events and keeps their data, by the rules of the HTML standard; the rest waits for more."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that are complete now; events without data are left out. Raises EndlessEventError."""
        whole = self._rest + piece
        # A CR at the end may be half of a CR LF.
        kept = whole[-1:] if whole.endswith(b"\r") else b""
        *lines, last = _LINE_END.split(whole[: len(whole) - len(kept)])
        self._rest = last + kept
        found = [data for line in lines if (data := self._take(line)) is not None]
        if self._size + len(self._rest) > LONGEST:
            raise EndlessEventError
        return found

    def end(self) -> list[bytes]:
        """The last event of a stream that ended without its empty line, if there is one."""
        return self.feed(b"\n\n")

    def _take(self, line: bytes) -> bytes | None:
        """Take one line; returns an event's data when it was the empty line after it."""
        if not line:
            data, self._data, self._size = self._data, [], 0
            return b"\n".join(data) if data else None
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._size += len(value)
        return None
