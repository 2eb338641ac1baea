"""An answer as a row of parts: what the model thought, said and called, in order. Pure.

The chunks of a chat completion say which part they belong to only by what they hold; here a change
of kind ends one part and begins the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from appliance.errors import ApplianceError


class Kind(Enum):
    """What a part holds."""

    REASONING = "reasoning"
    TEXT = "text"
    CALL = "call"


@dataclass(slots=True)
class Part:
    """One part. `place` counts from 0; a call has an id, the tool's name, and as its text the arguments."""

    kind: Kind
    place: int
    call_id: str = ""
    name: str = ""
    number: int = -1
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it that has come."""
        return "".join(self.pieces)


class Act(Enum):
    """What happens to a part."""

    OPEN = "open"
    MORE = "more"
    CLOSE = "close"


class Step(NamedTuple):
    """One thing that happens: a part begins, gets more text, or ends."""

    act: Act
    part: Part
    text: str = ""


class Parts:
    """Takes the chunks of one answer. `finish` is why it ended, `stop_word` the stop sequence that ended it."""

    def __init__(self) -> None:
        self.all: list[Part] = []
        self.finish: str | None = None
        self.stop_word: str | None = None
        self._open: Part | None = None

    def add(self, chunk: dict[str, Any]) -> Iterator[Step]:
        """What a parsed chunk brings."""
        said = chunk.get("__verbose")
        if isinstance(said, dict):
            self.stop_word = said.get("stopping_word") or None
        for choice in chunk.get("choices") or ():
            self.finish = choice.get("finish_reason") or self.finish
            delta = choice.get("delta") or {}
            # Some servers say `reasoning` where llama-server says `reasoning_content`.
            yield from self._text(Kind.REASONING, delta.get("reasoning_content") or delta.get("reasoning"))
            yield from self._text(Kind.TEXT, delta.get("content"))
            for call in delta.get("tool_calls") or ():
                yield from self._call(call)

    def end(self) -> Iterator[Step]:
        """End the part that is still open."""
        if self._open is not None:
            yield Step(Act.CLOSE, self._open)
            self._open = None

    def _text(self, kind: Kind, piece: Any) -> Iterator[Step]:
        if not piece or not isinstance(piece, str):
            return
        if self._open is None or self._open.kind is not kind:
            yield from self._begin(Part(kind, len(self.all)))
        yield from self._more(piece)

    def _call(self, call: dict[str, Any]) -> Iterator[Step]:
        """A call comes in pieces: its name first, then its arguments bit by bit."""
        number = call.get("index")
        if number is None:
            # Some servers send each call whole, with an id and without a number.
            number = len(self.all) if call.get("id") or self._open is None else self._open.number
        function = call.get("function") or {}
        if self._open is None or self._open.number != number:
            if any(part.number == number for part in self.all):
                raise ApplianceError(
                    "engine-failed",
                    "The engine went back to a call that it had ended.",
                    "Try again; your admin finds more with `appliance logs`.",
                )
            name = function.get("name") or ""
            yield from self._begin(Part(Kind.CALL, len(self.all), call.get("id") or "", name, number))
        yield from self._more(function.get("arguments") or "")

    def _begin(self, part: Part) -> Iterator[Step]:
        yield from self.end()
        self._open = part
        self.all.append(part)
        yield Step(Act.OPEN, part)

    def _more(self, piece: Any) -> Iterator[Step]:
        if not isinstance(piece, str):
            raise TypeError("a piece of an answer is no text")
        if piece and self._open is not None:
            self._open.pieces.append(piece)
            yield Step(Act.MORE, self._open, piece)


def as_chunk(completion: dict[str, Any]) -> dict[str, Any]:
    """A whole chat completion as if it were one chunk of a stream."""
    choices = []
    for choice in completion.get("choices") or ():
        message = dict(choice.get("message") or {})
        calls = [{**call, "index": place} for place, call in enumerate(message.get("tool_calls") or ())]
        choices.append({"delta": {**message, "tool_calls": calls}, "finish_reason": choice.get("finish_reason")})
    return {**completion, "choices": choices}
