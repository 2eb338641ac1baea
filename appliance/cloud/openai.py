"""OpenAI's own dialect: the request as a provider is to get it, and its stream as it comes: pure."""

from __future__ import annotations

from typing import Any, Final

import orjson

from appliance.cloud.events import EndlessEventError, Events
from appliance.cloud.failures import Failures

PATH: Final = "/chat/completions"
_DONE: Final = b"[DONE]"
# What models that reason refuse.
SAMPLING: Final = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "repeat_penalty", "presence_penalty", "frequency_penalty"}
)


def headers(key: str | None) -> list[str]:
    """The header lines that carry the key."""
    return [f"authorization: Bearer {key}"] if key else []


def request(fields: dict[str, Any], max_tokens: int, reasoning: bool) -> dict[str, Any]:
    """The request's fields, which are OpenAI's already, with a limit to the answer."""
    left_out = {"max_tokens"} | (SAMPLING if reasoning else frozenset())
    wanted = {name: value for name, value in fields.items() if name not in left_out}
    # What an answer of our own models thought is no business of others, and some refuse the field.
    wanted["messages"] = [
        {name: value for name, value in message.items() if name != "reasoning_content"}
        for message in fields["messages"]
    ]
    wanted["max_completion_tokens" if reasoning else "max_tokens"] = max_tokens
    return wanted


class OpenaiStream:
    """Passes a stream on, event by event; what it reports as a failure is raised."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures
        self._events = Events()
        self._done = False

    def feed(self, piece: bytes) -> bytes:
        """The events that are complete now. Raises cloud-failed and the like."""
        try:
            return b"".join(map(self._pass, self._events.feed(piece)))
        except EndlessEventError:
            raise self._failures.not_understood("an event without an end") from None

    def end(self) -> bytes:
        """What is left at the end of the stream. Raises cloud-failed when that is not the end of the answer."""
        last = self.feed(b"\n\n")
        if not self._done:
            raise self._failures.cut_off()
        return last

    def _pass(self, data: bytes) -> bytes:
        if data == _DONE:
            self._done = True
        elif b'"error"' in data:
            try:
                event = orjson.loads(data)
            except orjson.JSONDecodeError:
                event = None
            if isinstance(event, dict) and event.get("error"):
                raise self._failures.reported(event)
        return b"data: " + data + b"\n\n"
