"""Streams of server-sent events as real engines send them."""

from __future__ import annotations

import json
from typing import Any

DONE = b"data: [DONE]\n\n"


def event(data: dict[str, Any]) -> bytes:
    """One event, compact as real engines write it."""
    return b"data: " + json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    """One chunk of a chat completion, in llama-server's order of fields."""
    choice = {"finish_reason": finish, "index": 0, "delta": delta}
    head = {"created": 1, "id": "chatcmpl-x", "model": "smol", "system_fingerprint": "b1"}
    return event({"choices": [choice], **head, "object": "chat.completion.chunk", **more})


def timings(predicted: int, prompt: int = 32, cached: int = 0) -> dict[str, float]:
    """llama-server's timings after so many tokens."""
    return {"cache_n": cached, "prompt_n": prompt, "prompt_ms": 1.0, "predicted_n": predicted, "predicted_ms": 0.001}


def usage(prompt: int, completion: int, cached: int = 0, **more: Any) -> bytes:
    """The last chunk, which only tells the usage."""
    told = {"completion_tokens": completion, "prompt_tokens": prompt, "total_tokens": prompt + completion}
    details = {"prompt_tokens_details": {"cached_tokens": cached}}
    return event({"choices": [], "object": "chat.completion.chunk", "usage": {**told, **details}, **more})


def llama_stream(words: list[str]) -> list[bytes]:
    """A whole answer of llama-server, asked with timings_per_token and usage."""
    opening = chunk({"role": "assistant", "content": None})
    pieces = [chunk({"content": word}, timings=timings(place)) for place, word in enumerate(words, 1)]
    end = usage(32, len(words), timings=timings(len(words)))
    return [opening, *pieces, chunk({}, finish="stop"), end, DONE]
