"""Anthropic's Messages API: a message of content blocks, and the events in which it comes."""

from __future__ import annotations

from typing import Any, Final

import orjson

from appliance.errors import ApplianceError
from appliance.gateway.events import Tally
from appliance.gateway.shapes.parts import Act, Kind, Part, Step
from appliance.gateway.shapes.shape import Shape, event
from appliance.http.dialects import anthropic_error
from appliance.policy.body import EngineRequest

_REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
# Where a signature belongs: thoughts that come back are taken as they are, so there is nothing to sign.
_UNSIGNED: Final = ""


class MessageShape(Shape):
    """A message. Thoughts are shown only to whoever asked for them."""

    def __init__(self, wanted: EngineRequest, model: str, id: str) -> None:
        super().__init__(wanted, model, id)
        self._begun = False
        self._shows_thoughts = bool(wanted.kept["thinking"])
        self._shown: dict[int, int] = {}

    def begin(self, chunk: dict[str, Any]) -> bytes:
        # The first event tells the size of the prompt, which llama-server says with the first token.
        if self._begun or not _says(chunk):
            return b""
        timings = chunk.get("timings") or {}
        return self._begin(_usage(timings.get("prompt_n", 0), timings.get("cache_n", 0), 0))

    def _begin(self, usage: dict[str, int]) -> bytes:
        self._begun = True
        return event({"type": "message_start", "message": self._message([], None, None, usage)})

    def step(self, step: Step) -> bytes:
        part = step.part
        if part.kind is Kind.REASONING and not self._shows_thoughts:
            return b""
        index = self._shown.setdefault(part.place, len(self._shown))
        if step.act is Act.OPEN:
            return event(
                {"type": "content_block_start", "index": index, "content_block": self._block(part, empty=True)}
            )
        if step.act is Act.MORE:
            return event({"type": "content_block_delta", "index": index, "delta": _delta(part.kind, step.text)})
        signed = b""
        if part.kind is Kind.REASONING:
            delta = {"type": "signature_delta", "signature": _UNSIGNED}
            signed = event({"type": "content_block_delta", "index": index, "delta": delta})
        return signed + event({"type": "content_block_stop", "index": index})

    def end(self, tally: Tally) -> bytes:
        usage = _usage(tally.prompt - tally.cached, tally.cached, tally.completion)
        begin = b"" if self._begun else self._begin({**usage, "output_tokens": 0})
        closing = b"".join(map(self.step, self.parts.end()))
        reason, word = self._stopped()
        delta = {"stop_reason": reason, "stop_sequence": word}
        return (
            begin
            + closing
            + event({"type": "message_delta", "delta": delta, "usage": usage})
            + event({"type": "message_stop"})
        )

    def whole(self, tally: Tally) -> bytes:
        shown = [part for part in self.parts.all if part.kind is not Kind.REASONING or self._shows_thoughts]
        content = [self._block(part, empty=False) for part in shown]
        usage = _usage(tally.prompt - tally.cached, tally.cached, tally.completion)
        return orjson.dumps(self._message(content, *self._stopped(), usage))

    def failure(self, error: ApplianceError, request_id: str) -> bytes:
        return b"event: error\ndata: " + anthropic_error(error, request_id) + b"\n\n"

    def _message(
        self, content: list[dict[str, Any]], reason: str | None, word: str | None, usage: dict[str, int]
    ) -> dict[str, Any]:
        return {
            "id": f"msg_{self.id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": word,
            "usage": usage,
        }

    def _stopped(self) -> tuple[str, str | None]:
        """Why it ended, and by which of the caller's own stop sequences."""
        word = self.parts.stop_word
        if self.parts.finish == "stop" and word in self.wanted.kept["stop_sequences"]:
            return "stop_sequence", word
        return _REASONS.get(self.parts.finish or "", "end_turn"), None

    def _block(self, part: Part, empty: bool) -> dict[str, Any]:
        text = "" if empty else part.text
        if part.kind is Kind.TEXT:
            return {"type": "text", "text": text}
        if part.kind is Kind.REASONING:
            return {"type": "thinking", "thinking": text, "signature": _UNSIGNED}
        call_id = part.call_id or f"toolu_{self.id}_{part.place}"
        return {"type": "tool_use", "id": call_id, "name": part.name, "input": _arguments(text)}


def _says(chunk: dict[str, Any]) -> bool:
    """Whether a chunk holds anything of an answer."""
    deltas = [choice.get("delta") or {} for choice in chunk.get("choices") or ()]
    return any(value for delta in deltas for name, value in delta.items() if name != "role")


def _delta(kind: Kind, text: str) -> dict[str, str]:
    if kind is Kind.TEXT:
        return {"type": "text_delta", "text": text}
    if kind is Kind.REASONING:
        return {"type": "thinking_delta", "thinking": text}
    return {"type": "input_json_delta", "partial_json": text}


def _arguments(text: str) -> dict[str, Any]:
    """A call's arguments; nothing where the answer was cut off in the middle of them."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _usage(read: int, cached: int, written: int) -> dict[str, int]:
    """Anthropic counts as input what was read anew, and apart from it what came from the cache."""
    return {
        "input_tokens": read,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": written,
    }
