"""What people notice: tokens a second and waiting, through the gateway and without it, on the real engine.

    python -m bench.people [--rounds N] [--slots N] [--no-bindings]

Starts a box with the embedded model, and in each round measures in turn:

    eight at once    through the gateway, llama-server alone over its socket, and `python -m llama_cpp.server`:
                     tokens a second of people who ask again as soon as they are answered
    eight who read   the same for people who rest up to six seconds after each answer: time to first token
    seven, alone     one request each: time to first token
    and one greedy   the same seven while one person has 64 requests waiting
    eight busy       eight people who always have two requests under way: Jain's index of their tokens

Exit status: 0 all limits kept, 1 a limit broken, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import aiohttp

from bench.bindings import Bindings
from bench.tools import BENCH, BenchError, tool

SHARE_OF_ALONE: Final = 0.97
FIRST_TOKEN_MS: Final = 3.0
TIMES_BINDINGS: Final = 2.5
GREEDY_TIMES: Final = 1.5
JAIN: Final = 0.97
_PEOPLE: Final = 8
_TOKENS: Final = 48
# Stands where loadgen puts a length.
_VARIED: Final = 999_983
_ANSWERS: Final = 8
# Of people who read: how long they are watched, the longest rest after an answer, and the tokens of one.
_READING_S: Final = 30
_REST_MS: Final = 6000
_SHORT: Final = 16
_CONTEXT: Final = 1024
_THREADS: Final = 2
_GREEDY: Final = 64
_BUSY_S: Final = 20.0
# The embedded model's end of a turn: without it each answer has all its tokens.
_NO_END: Final = {"2": -100}


@dataclass
class Found:
    """Everything that was measured: tokens a second, seconds to the first token, Jain's index."""

    speed: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, list[float]] = field(default_factory=dict)
    seven: list[float] = field(default_factory=list)
    seven_beside: list[float] = field(default_factory=list)
    jain: list[float] = field(default_factory=list)


class Crowd:
    """Eight people who each ask again as soon as they are answered, by the load generator in C.

    Its share of the two cores is small, so what is compared is the servers. No two questions are the same: an
    engine that has seen one would answer it sooner.
    """

    def __init__(self) -> None:
        self._asked = time.time_ns() // 1_000_000_000 % 10_000_000 * 10

    def ask(self, where: list[str], answers: int = _ANSWERS) -> float:
        """Tokens a second of people who have so many answers each from a place (options of loadgen)."""
        total = _PEOPLE * answers
        tokens = sum(_length(self._asked + number) for number in range(total))
        found = self._load([*where, "-n", str(total), "-t", "300"], None)
        if found["ok"] < total or found["events"] < tokens:
            raise BenchError(f"{found['ok']} of {total} answers, {found['events']} events: {found['first_error']}")
        return float(tokens / found["seconds"])

    def read(self, where: list[str]) -> float:
        """Median ms to the first token of people who rest after each answer."""
        found = self._load([*where, "-t", str(_READING_S), "-r", str(_REST_MS)], _SHORT)
        if not found["ok"] or found["failed"]:
            raise BenchError(f"{found['failed']} of {found['finished']} failed: {found['first_error']}")
        return float(found["ttft_ms"]["p50"])

    def _load(self, options: list[str], tokens: int | None) -> dict[str, Any]:
        """What the load generator saw. Without `tokens`, each answer has a length of its own (`_length`)."""
        command = [str(tool("loadgen")), *options, "-c", str(_PEOPLE), "-w", "120", "-f", str(self._asked)]
        self._asked += 1000
        words = "Number ########: tell me a story about the sea, the wind and the people who live by them."
        text = json.dumps(_body(words, tokens or _VARIED)).replace(str(_VARIED), str(tokens or "@@"))
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=600, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def _length(number: int) -> int:
    """The tokens of an answer, by the number of its request, as loadgen has it: those of people end at different times.

    When all were equally long, all slots would become free at once, and how many of the next requests the engine
    then reads together would be chance.
    """
    return 32 + number * 10 % 33


def _body(words: str, tokens: int) -> dict[str, Any]:
    return {
        "model": "chat",
        "messages": [{"role": "user", "content": words}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "logit_bias": _NO_END,
    }


class Place:
    """The gateway, with a key for each person."""

    def __init__(self, session: aiohttp.ClientSession, url: str, keys: list[str]) -> None:
        self._session, self._url, self._keys = session, url, keys
        self._number = 0

    async def ask(self, person: int, tokens: int = _TOKENS) -> tuple[float, int]:
        """One streamed answer: seconds to its first token, and its tokens."""
        self._number += 1
        words = f"{self._number}: tell person {person} a story about the sea, the wind and number {self._number}."
        body = _body(words, tokens)
        headers = {"authorization": f"Bearer {self._keys[person]}"}
        began, first, count = time.monotonic(), 0.0, 0
        async with self._session.post(self._url, json=body, headers=headers) as response:
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {await response.text()}")
            async for line in response.content:
                if not line.startswith(b"data: {"):
                    continue
                chunk: dict[str, Any] = json.loads(line[6:])
                if not first and any(choice["delta"].get("content") for choice in chunk["choices"]):
                    first = time.monotonic() - began
                count = (chunk.get("usage") or {}).get("completion_tokens", count)
        return first, count

    async def together(self, people: range) -> list[float]:
        """One request of each at once: each one's seconds to the first token."""
        return [first for first, _ in await asyncio.gather(*(self.ask(person) for person in people))]


def _eight_at_once(places: dict[str, list[str]], rounds: int, found: Found) -> None:
    """Each place in turn, another one first in each round: a machine that slows down then favours nobody."""
    crowd, names = Crowd(), list(places)
    for name in names:
        crowd.ask(places[name], 1)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            # The one that answers nobody at the same time would take all day.
            answers = 2 if name == "bindings" else _ANSWERS
            found.speed.setdefault(name, []).append(crowd.ask(places[name], answers))
            if name != "bindings":
                found.first.setdefault(name, []).append(crowd.read(places[name]))


async def _seven(gateway: Place, found: Found) -> None:
    found.seven += await gateway.together(range(7))
    greedy = [asyncio.create_task(gateway.ask(7)) for _ in range(_GREEDY)]
    await asyncio.sleep(1.0)
    found.seven_beside += await gateway.together(range(7))
    for task in greedy:
        task.cancel()
    await asyncio.gather(*greedy, return_exceptions=True)
    await asyncio.sleep(0.5)


async def _busy(gateway: Place) -> float:
    """Jain's index of the tokens that eight people got who always have two requests under way."""
    tokens = [0] * _PEOPLE
    until = time.monotonic() + _BUSY_S

    async def go_on(person: int) -> None:
        while time.monotonic() < until:
            tokens[person] += (await gateway.ask(person))[1]

    await asyncio.gather(*(go_on(person) for person in range(_PEOPLE) for _ in range(2)))
    return sum(tokens) ** 2 / (_PEOPLE * sum(count * count for count in tokens))


class Box:
    """A box with the embedded model in a folder of its own."""

    def __init__(self, folder: Path, slots: int) -> None:
        self.folder = folder
        self.port = 20_000 + os.getpid() % 20_000
        self._place = ["--config", str(folder / "appliance.toml"), "--state", str(folder / "var")]
        engine = f"[engines.chat]\nslots = {slots}\ncontext = {_CONTEXT}\nthreads = {_THREADS}\n"
        (folder / "appliance.toml").write_text(f"[gateway]\nport = {self.port}\n{engine}")

    def run(self, *words: str) -> str:
        """What a command prints."""
        command = [sys.executable, "-m", "appliance", *self._place, *words]
        return subprocess.run(command, cwd=BENCH.parent, check=True, stdout=subprocess.PIPE, text=True).stdout

    def key(self, owner: str) -> str:
        """A person's key."""
        return str(json.loads(self.run("keys", "create", "--owner", owner, "--json"))["key"])

    def engine(self) -> dict[str, Any]:
        """The engine's part of the hand-over: its socket and its model's file."""
        engines: list[dict[str, Any]] = json.loads((self.folder / "var/deployment.json").read_text())["engines"]
        return engines[0]

    def places(self, keys: list[str]) -> dict[str, list[str]]:
        """Where the crowd asks: the gateway, each with a key of their own, and llama-server's socket."""
        headers = self.folder / "headers"
        headers.write_text("".join(f"Authorization: Bearer {key}\n" for key in keys))
        return {
            "gateway": ["-p", str(self.port), "-K", str(headers)],
            "alone": ["-U", self.engine()["socket"]],
        }


async def _measure_fairness(box: Box, keys: list[str], rounds: int, found: Found) -> None:
    limit = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limit) as session:
        gateway = Place(session, f"http://127.0.0.1:{box.port}/v1/chat/completions", keys)
        await gateway.together(range(_PEOPLE))
        for _ in range(rounds):
            await _seven(gateway, found)
        found.jain.append(await _busy(gateway))


def _measure(box: Box, rounds: int, bindings: bool) -> Found:
    keys = [box.key(f"person{number}") for number in range(_PEOPLE)]
    found, places = Found(), box.places(keys)
    if bindings:
        model = Path(box.engine()["file"])
        with Bindings(model, _CONTEXT, _THREADS, box.folder / "bindings.log") as other:
            _eight_at_once(places | {"bindings": ["-p", str(other.port)]}, rounds, found)
    else:
        _eight_at_once(places, rounds, found)
    asyncio.run(_measure_fairness(box, keys, rounds, found))
    return found


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


def _report(found: Found) -> bool:
    speed = {name: median(values) for name, values in found.speed.items()}
    first = {name: median(values) for name, values in found.first.items()}
    seven, beside = _p95(found.seven), _p95(found.seven_beside)
    rows = [
        ("tokens a second of 8, of llama-server alone", speed["gateway"] / speed["alone"], SHARE_OF_ALONE, True),
        ("p50 to the first token, ms more than alone", first["gateway"] - first["alone"], FIRST_TOKEN_MS, False),
        ("p95 of the seven beside a greedy one, times", beside / seven, GREEDY_TIMES, False),
        ("Jain's index of 8 who are equally busy", found.jain[0], JAIN, True),
    ]
    if "bindings" in speed:
        times = speed["gateway"] / speed["bindings"]
        rows.append(("tokens a second, times those of llama_cpp.server", times, TIMES_BINDINGS, True))
    for name, value in speed.items():
        rested = f", first token p50 {first[name]:.1f} ms" if name in first else ""
        print(f"{name}: {value:.0f} tok/s{rested}")
    print(f"seven people: p95 {seven * 1000:.0f} ms, beside a greedy one {beside * 1000:.0f}\n")
    kept = True
    for words, value, limit, at_least in rows:
        good = value >= limit if at_least else value <= limit
        kept = kept and good
        print(f"- {words}: {value:.3f} (limit {limit}): {'kept' if good else '**BROKEN**'}")
    return kept


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--no-bindings", action="store_true", help="without llama_cpp.server")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder), chosen.slots)
        try:
            box.run("models", "pull", "smollm2-135m-instruct")
            box.run("up", "--no-prove")
            found = _measure(box, chosen.rounds, not chosen.no_bindings)
        except (BenchError, subprocess.SubprocessError, OSError, RuntimeError) as error:
            print(f"nothing could be measured: {error}", file=sys.stderr)
            return 2
        finally:
            box.run("down")
    return 0 if _report(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
