"""Measure a running llama-server: its speed, and its memory once its slots are full.

It is asked over its own socket, past the gateway, so nothing of this is on anybody's account. Engines may guess
ahead from what they have read and written, for anybody: so the text that they read is prose that repeats
nothing, each request begins at another place of it, and answers are drawn at the engine's usual temperature, each
with a number of its own. Else a model would repeat its text, or another slot's answer, and be flattered.
"""

from __future__ import annotations

import http.client
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.engine.prose import TEXT
from appliance.errors import ApplianceError
from appliance.supervise.unix import UnixConnection

# Reading a whole context on a slow processor.
_ANSWER_S = 1800.0
# The engine's own default, which is what people get who ask for none.
_TEMPERATURE = 0.8
_READ = 256
_WRITTEN = 48
# What is asked first, to see how slow it is; and how long reading and writing should then take.
_GLANCE = 32
_MOMENT_S = 3.0
# Room for what is written after a context has been filled.
_ROOM = 16


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second: `prompt` read by one user, `alone` written for one, `together` for all slots at work."""

    prompt: float
    alone: float
    together: float


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens of one measurement: `read` and `written` for one user, `begun` those in each slot when all write."""

    read: int
    written: int
    begun: int = _GLANCE


def speed(socket: str, slots: int, amount: Amount | None = None) -> Speed:
    """How fast an engine is now. Takes each slot for some seconds. Raises engine-unavailable.

    Unless it is said how much, a slow engine is asked for less, so that it takes no longer.
    """
    prose = _prose(socket)
    amount = amount or _affordable(socket, prose)
    alone = _complete(socket, _cut(prose, 0, amount.read), amount.written, slot=0)
    texts = [_cut(prose, len(prose) * (slot + 1) // (slots + 1), amount.begun) for slot in range(slots)]
    _each(slots, lambda slot: _complete(socket, texts[slot], 1, slot=slot))
    began = time.monotonic()
    # What was read a moment ago is in each slot's cache, so from here on nearly all is writing.
    answers = _each(slots, lambda slot: _complete(socket, texts[slot], amount.written, slot=slot, seed=slot + 1))
    took = time.monotonic() - began
    return Speed(
        prompt=float(alone["prompt_per_second"]),
        alone=float(alone["predicted_per_second"]),
        together=sum(answer["predicted_n"] for answer in answers) / took,
    )


def glance(socket: str, slots: int) -> None:
    """Have every slot read and write a little: an engine that can do this, works. Raises engine-unavailable."""
    tokens = _cut(_prose(socket), 0, _GLANCE)
    _each(slots, lambda slot: _complete(socket, tokens, 4, slot=slot))


def _affordable(socket: str, prose: list[int]) -> Amount:
    """What takes no longer than a measurement should."""
    # The end of the prose: what is read from its beginning later must not be in the slot's cache.
    first = _complete(socket, prose[-_GLANCE:], _GLANCE // 4, slot=0)
    read = _within(first["prompt_per_second"], _GLANCE, _READ)
    return Amount(read, _within(first["predicted_per_second"], _GLANCE // 4, _WRITTEN))


def _within(per_second: float, least: int, most: int) -> int:
    """So many tokens as take about as long as a measurement should."""
    return max(least, min(most, int(per_second * _MOMENT_S)))


def reading_speed(socket: str, role: str, context: int) -> Speed:
    """How fast an engine reads that writes nothing (`embed` or `rerank`). Raises engine-unavailable."""
    text = " ".join(TEXT.split()[: min(_READ, context) // 2])
    path, body = ("/v1/embeddings", {"input": text}) if role == "embed" else ("/v1/rerank", _pair(text))
    began = time.monotonic()
    said = json.loads(_ask(socket, "POST", path, body))
    # Its own count: each model cuts text in another way.
    tokens = said["usage"]["total_tokens"] / (time.monotonic() - began)
    return Speed(prompt=tokens, alone=tokens, together=tokens)


def _pair(text: str) -> dict[str, Any]:
    return {"query": text[:40], "documents": [text]}


def fill(socket: str, slots: int, tokens: int) -> None:
    """Have all slots read so many tokens at once. Raises engine-unavailable."""
    wanted = _cut(_prose(socket), 0, tokens - _ROOM)
    _each(slots, lambda slot: _complete(socket, [wanted[slot], *wanted[1:]], 4, slot=slot))


def is_idle(socket: str) -> bool:
    """Whether an engine works on nothing now. Raises engine-unavailable."""
    return working_on(socket) == 0


def working_on(socket: str) -> int:
    """The requests that an engine works on, those in its own queue included. Raises engine-unavailable."""
    said = _ask(socket, "GET", "/metrics").decode()
    counts = re.findall(r"^llamacpp:requests_(?:processing|deferred) (\d+)", said, re.MULTILINE)
    return sum(map(int, counts))


def memory_of(pid: int) -> tuple[int, int]:
    """The bytes that a process cannot give back, and those that it has mapped from files. Raises engine-unavailable."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return tuple(int(re.findall(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)[0]) * 1024 for name in _KINDS)  # type: ignore[return-value]
    except (OSError, IndexError) as error:
        raise _gone(f"process {pid} is gone") from error


_KINDS = ("RssAnon", "RssFile")


def _prose(socket: str) -> list[int]:
    """All of the prose as this model's tokens."""
    found: list[int] = json.loads(_ask(socket, "POST", "/tokenize", {"content": TEXT}))["tokens"]
    return found


def _cut(tokens: list[int], start: int, count: int) -> list[int]:
    """So many tokens from a place on; past the end it goes on at the beginning."""
    turned = tokens[start:] + tokens[:start]
    return (turned * (count // len(turned) + 1))[:count]


def _complete(socket: str, tokens: list[int], written: int, slot: int, seed: int = 0) -> dict[str, Any]:
    """Read these tokens in a slot and write so many; returns the engine's timings."""
    body = {
        "prompt": tokens,
        "n_predict": written,
        "id_slot": slot,
        "ignore_eos": True,
        "temperature": _TEMPERATURE,
        "seed": seed,
    }
    timings: dict[str, Any] = json.loads(_ask(socket, "POST", "/completion", body))["timings"]
    return timings


def _each(slots: int, work: Any) -> list[Any]:
    """Do it in every slot at once."""
    pool = ThreadPoolExecutor(slots)
    try:
        return list(pool.map(work, range(slots)))
    finally:
        # After Ctrl-C nobody waits for answers: who owns the engine ends it, or it finds that we have gone.
        pool.shutdown(wait=False, cancel_futures=True)


def _ask(socket: str, method: str, path: str, body: Any = None) -> bytes:
    connection = UnixConnection(socket, _ANSWER_S)
    try:
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"content-type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise _gone(str(error)) from error
    finally:
        connection.close()
    if answer.status != 200:
        raise _gone(f"{answer.status}: {said[:300].decode('utf-8', 'replace')}")
    return said


def _gone(why: str) -> ApplianceError:
    return ApplianceError(
        "engine-unavailable",
        f"The engine could not be measured: {why}.",
        "`appliance status` shows how it is, `appliance logs` what it says.",
    )
