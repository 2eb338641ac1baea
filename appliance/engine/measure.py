"""Measure a running llama-server: its speed, and its memory once its slots are full.

It is asked over its own socket, past the gateway, so nothing of this is on anybody's account. The text
that it reads is ordinary prose: repeated tokens would flatter engines that guess ahead.
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

from appliance.errors import ApplianceError
from appliance.supervise.unix import UnixConnection

# Reading a whole context on a slow processor.
_ANSWER_S = 1800.0
_READ = 256
_WRITTEN = 48
# What is asked first, to see how slow it is; and how long reading and writing should then take.
_GLANCE = 32
_MOMENT_S = 3.0
# Room for what is written after a context has been filled.
_ROOM = 16

_TEXT = """The delivery of Tuesday arrived with two pallets missing, and the warehouse noted it on paper but not
in the system. Mrs. Keller asks what she should tell the customer in Bremen, who needs the pumps for a plant that is to
start next Monday. The carrier says that the pallets were never loaded; our own pictures show that they stood at gate
four at half past five. Please draft a short answer that apologizes, names a new date, and offers to send the smaller
parts ahead by courier at our cost. Keep in mind that the framework contract gives us five working days before a penalty
of half a percent for each day is due. Attached are the order, the slip, and the list of serial numbers. For the
meeting on Thursday, make a table of all late deliveries of this quarter: number, customer, days late, cause, and what
it has cost us. Group them by cause, and add one line on each of the three largest with a proposal to prevent it. """


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens a second: `prompt` read by one user, `alone` written for one, `together` for all slots at work."""

    prompt: float
    alone: float
    together: float


def speed(socket: str, slots: int) -> Speed:
    """How fast an engine is now. Takes each slot for some seconds. Raises engine-unavailable.

    A slow engine is asked for less, so that it takes no longer.
    """
    tokens = _tokens(socket, _READ)
    first = _complete(socket, tokens[:_GLANCE], _GLANCE // 4, slot=0)
    read = _within(first["prompt_per_second"], _GLANCE, _READ)
    written = _within(first["predicted_per_second"], _GLANCE // 4, _WRITTEN)
    # From its end: what was read at the glance is in the slot's cache, and would not be read again.
    alone = _complete(socket, tokens[-read:], written, slot=0)
    short = tokens[:_GLANCE]
    _each(slots, lambda slot: _complete(socket, [tokens[slot], *short], 1, slot=slot))
    began = time.monotonic()
    # What was read a moment ago is in each slot's cache, so from here on nearly all is writing.
    answers = _each(slots, lambda slot: _complete(socket, [tokens[slot], *short], written, slot=slot))
    took = time.monotonic() - began
    return Speed(
        prompt=float(alone["prompt_per_second"]),
        alone=float(alone["predicted_per_second"]),
        together=sum(answer["predicted_n"] for answer in answers) / took,
    )


def glance(socket: str, slots: int) -> None:
    """Have every slot read and write a little: an engine that can do this, works. Raises engine-unavailable."""
    tokens = _tokens(socket, _GLANCE)
    _each(slots, lambda slot: _complete(socket, tokens, 4, slot=slot))


def _within(per_second: float, least: int, most: int) -> int:
    """So many tokens as take about as long as a measurement should."""
    return max(least, min(most, int(per_second * _MOMENT_S)))


def reading_speed(socket: str, role: str, context: int) -> Speed:
    """How fast an engine reads that writes nothing (`embed` or `rerank`). Raises engine-unavailable."""
    text = " ".join(_TEXT.split()[: min(_READ, context) // 2])
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
    wanted = _tokens(socket, tokens - _ROOM)
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


def _tokens(socket: str, count: int) -> list[int]:
    """So many tokens of prose."""
    body = {"content": _TEXT}
    found: list[int] = json.loads(_ask(socket, "POST", "/tokenize", body))["tokens"]
    return (found * (count // len(found) + 1))[:count]


def _complete(socket: str, tokens: list[int], written: int, slot: int) -> dict[str, Any]:
    """Read these tokens in a slot and write so many; returns the engine's timings."""
    body = {"prompt": tokens, "n_predict": written, "id_slot": slot, "ignore_eos": True, "temperature": 0}
    timings: dict[str, Any] = json.loads(_ask(socket, "POST", "/completion", body))["timings"]
    return timings


def _each(slots: int, work: Any) -> list[Any]:
    """Do it in every slot at once."""
    with ThreadPoolExecutor(slots) as pool:
        return list(pool.map(work, range(slots)))


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
