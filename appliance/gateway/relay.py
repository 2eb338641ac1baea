"""Pass a stream on to the client: count it, hide what was only for us, hold back its end.

Pure: bytes in, bytes out. The end of an answer (its finish reason and all after it) is held
until the caller has settled the ledger's row, so nobody ever holds a complete answer that is
not on record.
"""

from __future__ import annotations

from appliance.gateway.events import DONE, Splitter, Tally, is_error, is_finish, plain_run, with_usage, without_timings


class Relay:
    """One stream on its way. `tally` counts, `done` is true once the engine has said so, `error` is its failure."""

    def __init__(self, wants_usage: bool, opening: int = 1) -> None:
        self.tally = Tally(opening)
        self.done = False
        self.error: bytes | None = None
        self._wants_usage = wants_usage
        self._splitter = Splitter()
        self._held: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """Take bytes of the engine; returns what may go out at once."""
        data = self._splitter.take_rest() + data
        run = 0 if self._held else plain_run(data)
        if run < 2:
            return self._pass(self._splitter.feed(data))
        plain = data[:run]
        self.tally.count_run(plain)
        return plain + self._pass(self._splitter.feed(data[run:]))

    def end(self) -> bytes:
        """The engine has ended; returns what may still go out."""
        return self._pass(self._splitter.end())

    def _pass(self, events: list[bytes]) -> bytes:
        out = []
        for event in events:
            if self._held or is_finish(event):
                self._hold(event)
            elif is_error(event):
                self.error = event
                break
            else:
                out.append(self.tally.count(event))
        return b"\n\n".join([*out, b""]) if out else b""

    def tail(self) -> bytes:
        """The end that was held, for after the row is settled."""
        return b"\n\n".join([*self._held, b""])

    def _hold(self, event: bytes) -> None:
        if event == DONE:
            self.done = True
        chunk = with_usage(event)
        if chunk is not None:
            self.tally.usage(chunk["usage"])
            if not self._wants_usage and not chunk.get("choices"):
                return
        self._held.append(without_timings(event))
