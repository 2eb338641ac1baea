"""Put a plain answer together from the stream of an engine."""

from __future__ import annotations

from typing import Any, Protocol

import orjson


class Assembly(Protocol):
    """Collects the chunks of one completion and gives the completion. `opening` events of a stream carry no token."""

    opening: int

    def add(self, chunk: dict[str, Any]) -> None:
        """Take one parsed chunk."""

    def body(self, usage: dict[str, Any]) -> bytes:
        """The completion as JSON."""


class ChatAssembly:
    """A chat completion."""

    # The first event carries the role.
    opening = 1

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: list[Any] = []
        self._finish: str | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Take one parsed chunk."""
        self._head = self._head or chunk
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta") or {}
            if delta.get("content"):
                self._content.append(delta["content"])
            if delta.get("reasoning_content"):
                self._reasoning.append(delta["reasoning_content"])
            for call in delta.get("tool_calls") or ():
                self._add_call(call)
            if choice.get("logprobs"):
                self._logprobs += choice["logprobs"].get("content") or []
            self._finish = choice.get("finish_reason") or self._finish

    def body(self, usage: dict[str, Any]) -> bytes:
        """The chat completion as JSON."""
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self._content) or None, "refusal": None}
        if self._reasoning:
            message["reasoning_content"] = "".join(self._reasoning)
        if self._calls:
            message["tool_calls"] = [self._calls[place] for place in sorted(self._calls)]
        elif message["content"] is None:
            message["content"] = ""
        choice = {
            "index": 0,
            "message": message,
            "logprobs": {"content": self._logprobs} if self._logprobs else None,
            "finish_reason": self._finish,
        }
        head = {name: self._head.get(name) for name in ("id", "created", "model", "system_fingerprint")}
        return orjson.dumps({**head, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _add_call(self, call: dict[str, Any]) -> None:
        """A tool call comes in pieces: its name first, then its arguments bit by bit."""
        known = self._calls.setdefault(
            call.get("index", 0), {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        )
        known["id"] = call.get("id") or known["id"]
        function = call.get("function") or {}
        known["function"]["name"] += function.get("name") or ""
        known["function"]["arguments"] += function.get("arguments") or ""


class TextAssembly:
    """A text completion."""

    opening = 0

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._text: list[str] = []
        self._finish: str | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Take one parsed chunk."""
        self._head = self._head or chunk
        for choice in chunk.get("choices", ()):
            if choice.get("text"):
                self._text.append(choice["text"])
            self._finish = choice.get("finish_reason") or self._finish

    def body(self, usage: dict[str, Any]) -> bytes:
        """The text completion as JSON."""
        choice = {"index": 0, "text": "".join(self._text), "logprobs": None, "finish_reason": self._finish}
        head = {name: self._head.get(name) for name in ("id", "created", "model", "system_fingerprint")}
        return orjson.dumps({**head, "object": "text_completion", "choices": [choice], "usage": usage})
