"""Read an engine's stream of server-sent events by their bytes, without parsing what only passes through."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.units import MIB

_DATA: Final = b"data: "
DONE: Final = b"data: [DONE]"
_TIMINGS: Final = b',"timings":{'
# No answer has more tokens; a count beyond it is not one, and would not fit the ledger.
_MOST_TOKENS: Final = 2**31 - 1
# In JSON text a quote is escaped, so an answer that talks about these words cannot look like them.
_FINISH: Final = b'"finish_reason":"'
_FINISH_SPACED: Final = b'"finish_reason": "'
_USAGE: Final = b'"usage":'
_END: Final = b"\n\n"
# What only some events have besides: a count, a failure, or a form of their own.
_ODD: Final = (_USAGE, _TIMINGS, b'"error"', b"\nerror", b"\r", DONE)
# An engine says these in its last events, or in every one: looking at the last few is enough.
_TAIL: Final = 2048
_ERRORS: Final = (b'data: {"error"', b"error: ", b'data: {"object":"error"')


# Bytes of a plain answer from which on only its usage is parsed, and the most that a usage has.
_LONG_BODY: Final = 32 * 1024
_MOST_USAGE: Final = 4 * 1024
_DECODER: Final = json.JSONDecoder()

# An event that is longer is none: an engine that never ends one must not fill our memory.
_LONGEST_EVENT: Final = 8 * MIB


class Splitter:
    """Cuts a byte stream into events; whatever is incomplete waits for more.

    Some servers end their lines with CR LF. In JSON a CR is escaped, so leaving them out is safe.
    Some leave out the space after `data:`, which the standard allows; what comes out has it.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The events that are complete now, each without its empty line."""
        if b"\r" in data:
            data = data.replace(b"\r", b"")
        if self._rest:
            data = self._rest + data
        events = data.split(_END)
        self._rest = events.pop()
        if len(self._rest) > _LONGEST_EVENT:
            raise ApplianceError(
                "engine-failed",
                "The engine sent an event without an end.",
                "Your admin finds more with `appliance logs`.",
            )
        return [_spaced(event) for event in events if event]

    def take_rest(self) -> bytes:
        """Give up what waits, for a caller that looks at it itself."""
        rest, self._rest = self._rest, b""
        return rest

    def end(self) -> list[bytes]:
        """The last event of a stream that ended without its empty line, if there is one."""
        return self.feed(_END)


def plain_run(data: bytes) -> int:
    """How many bytes at the start of `data` are whole events that only pass through.

    A search for each mark over all of them; looking at each event would cost four times as much.
    """
    if not data.startswith(_DATA):
        return 0
    odd = _first(data, (_FINISH, _FINISH_SPACED), 0, len(data))
    odd = _first(data, _ODD, max(0, odd - _TAIL), odd)
    return data.rfind(_END, 0, odd) + len(_END)


def _first(data: bytes, marks: tuple[bytes, ...], start: int, end: int) -> int:
    """Where the first of the marks stands in `data[start:end]`; `end` when none does."""
    for mark in marks:
        found = data.find(mark, start, end)
        if found >= 0:
            end = found
    return end


class Tally:
    """What a stream has told so far about tokens.

    `exact` once the engine has said it: in its usage, or (llama-server) in the timings of
    each token. Before that, events are counted, of which `opening` carry no token.
    """

    def __init__(self, opening: int = 1) -> None:
        self.prompt = 0
        self.cached = 0
        self.completion = 0
        self.exact = False
        self._counted = -opening
        self._last_timed: bytes | None = None

    def count(self, event: bytes) -> bytes:
        """Take one event into account; returns it as the client is to see it."""
        shown = without_timings(event)
        if shown is not event:
            self._last_timed = event
        if event.startswith(_DATA):
            self._counted += 1
        return shown

    def count_run(self, data: bytes) -> None:
        """Take the events of a plain run into account."""
        # Within JSON text a line end is escaped, so this is never part of an answer.
        self._counted += 1 + data.count(_END + _DATA)

    def close(self) -> None:
        """Take the last word on tokens that there was."""
        if self.exact:
            return
        if self._last_timed is not None:
            timings = (parsed(self._last_timed) or {}).get("timings") or {}
            self._take(timings.get("prompt_n"), timings.get("cache_n"), timings.get("predicted_n"))
            # llama-server counts as prompt only what it had to read anew.
            self.prompt += self.cached
        if not self.exact:
            self.completion = max(0, self._counted)

    def usage(self, usage: object) -> None:
        """Take the engine's own final count; what is no count is left aside, and `exact` stays as it was."""
        if not isinstance(usage, dict):
            return
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        self._take(usage.get("prompt_tokens"), cached or 0, usage.get("completion_tokens", 0))

    def _take(self, prompt: Any, cached: Any, completion: Any) -> None:
        if all(type(count) is int and 0 <= count <= _MOST_TOKENS for count in (prompt, cached, completion)):
            self.prompt, self.cached, self.completion = prompt, cached, completion
            self.exact = True


def _spaced(event: bytes) -> bytes:
    if event.startswith(b"data:") and not event.startswith(_DATA):
        return _DATA + event[len(b"data:") :]
    return event


def without_timings(event: bytes) -> bytes:
    """An event less llama-server's timings, which come last in it; the same object when there are none."""
    cut = event.rfind(_TIMINGS)
    if cut < 0 or event.find(b"}", cut) != len(event) - 2:
        return event
    return event[:cut] + b"}"


def is_error(event: bytes) -> bool:
    """Whether an event reports a failure of the engine."""
    return event.startswith(_ERRORS)


def is_finish(event: bytes) -> bool:
    """Whether an event ends the answer: from here on nothing may go out before the row is settled."""
    return _FINISH in event or _FINISH_SPACED in event or event == DONE


def parsed(event: bytes) -> dict[str, Any] | None:
    """The JSON of an event; None for the closing one, for comments, and for what is not JSON."""
    if not event.startswith(_DATA) or event == DONE:
        return None
    try:
        chunk = orjson.loads(event[len(_DATA) :])
    except orjson.JSONDecodeError:
        return None
    return chunk if isinstance(chunk, dict) else None


def usage_of(body: bytes) -> Any:
    """The usage in a plain answer, or None. A long one is not parsed for it: that would hold up everybody."""
    if len(body) > _LONG_BODY:
        start = body.find(_USAGE) + len(_USAGE)
        with suppress(ValueError):
            # In JSON text a quote is escaped, so these words stand in no text.
            return _DECODER.raw_decode(body[start : start + _MOST_USAGE].decode("latin-1").lstrip())[0]
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return answer.get("usage") if isinstance(answer, dict) else None


def with_usage(event: bytes) -> dict[str, Any] | None:
    """The JSON of an event that carries usage, or None."""
    if _USAGE not in event:
        return None
    chunk = parsed(event)
    return chunk if chunk and isinstance(chunk.get("usage"), dict) else None
