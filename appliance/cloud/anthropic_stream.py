"""Anthropic's stream of events as the chunks of a chat completion: pure, bytes in, bytes out."""

from __future__ import annotations

from typing import Any, Final

import orjson

from appliance.cloud.events import EndlessEventError, Events
from appliance.cloud.failures import Failures

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_COUNTS: Final = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class AnthropicStream:
    """One answer. `created` is its instant, in seconds since 1970 UTC."""

    def __init__(self, failures: Failures, created: int) -> None:
        self._failures = failures
        self._events = Events()
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": created, "model": ""}
        self._usage: dict[str, int] = {}
        # The place among the calls of tools, by the place among the blocks.
        self._calls: dict[int, int] = {}
        self._finish = "stop"
        self._done = False

    def feed(self, piece: bytes) -> bytes:
        """The chunks for the events that are complete now. Raises cloud-failed and the like."""
        try:
            found = self._events.feed(piece)
        except EndlessEventError:
            raise self._failures.not_understood("an event without an end") from None
        try:
            return b"".join([self._turn(orjson.loads(data)) for data in found])
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise self._failures.not_understood("an event that it should not send") from None

    def end(self) -> bytes:
        """What is left at the end of the stream. Raises cloud-failed when that is not the end of the answer."""
        last = self.feed(b"\n\n")
        if not self._done:
            raise self._failures.cut_off()
        return last

    def _turn(self, event: dict[str, Any]) -> bytes:
        """One event as chunks; kinds that are not known may be added to the API at any time, and are passed over."""
        match event["type"]:
            case "message_start":
                message = event["message"]
                self._head |= {"id": str(message["id"]), "model": str(message["model"])}
                self._count(message.get("usage"))
                return self._chunk({"role": "assistant", "content": ""})
            case "content_block_start":
                return self._begin(event["index"], event["content_block"])
            case "content_block_delta":
                return self._more(event["index"], event["delta"])
            case "message_delta":
                self._finish = _FINISH.get(event["delta"].get("stop_reason") or "", self._finish)
                self._count(event.get("usage"))
            case "message_stop":
                self._done = True
                return self._end_of_answer()
            case "error":
                raise self._failures.reported(event)
        return b""

    def _begin(self, place: int, block: dict[str, Any]) -> bytes:
        if block["type"] == "text" and block.get("text"):
            return self._chunk({"content": block["text"]})
        if block["type"] != "tool_use":
            return b""
        call = self._calls[place] = len(self._calls)
        function = {"name": block["name"], "arguments": ""}
        return self._chunk(
            {"tool_calls": [{"index": call, "id": block["id"], "type": "function", "function": function}]}
        )

    def _more(self, place: int, delta: dict[str, Any]) -> bytes:
        match delta["type"]:
            case "text_delta":
                return self._chunk({"content": delta["text"]})
            case "thinking_delta":
                return self._chunk({"reasoning_content": delta["thinking"]})
            case "input_json_delta" if delta["partial_json"] and place in self._calls:
                function = {"arguments": delta["partial_json"]}
                return self._chunk({"tool_calls": [{"index": self._calls[place], "function": function}]})
        return b""

    def _count(self, usage: Any) -> None:
        """Take counts; later ones are of the whole answer too, and take the place of earlier ones."""
        if isinstance(usage, dict):
            self._usage |= {name: usage[name] for name in _COUNTS if type(usage.get(name)) is int}

    def _end_of_answer(self) -> bytes:
        end = self._chunk({}, self._finish)
        if "input_tokens" in self._usage and "output_tokens" in self._usage:
            end += _event({**self._head, "choices": [], "usage": self._counted()})
        return end + b"data: [DONE]\n\n"

    def _counted(self) -> dict[str, Any]:
        """The usage as OpenAI tells it: what came from the cache or went there is part of the prompt."""
        fresh, stored, cached, completion = (self._usage.get(name, 0) for name in _COUNTS)
        prompt = fresh + stored + cached
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _event({**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
