"""What people notice: tokens a second and waiting, through the gateway and without it, on the real engine.

    python -m bench.people [--rounds N] [--slots N]

Starts a box with the embedded model, and in each round measures in turn:

    eight at once    through the gateway, and llama-server alone over its socket: tokens a second, time to first token
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

from bench.tools import BENCH

SHARE_OF_ALONE: Final = 0.97
FIRST_TOKEN_MS: Final = 3.0
GREEDY_TIMES: Final = 1.5
JAIN: Final = 0.97
_TOKENS: Final = 48
_GREEDY: Final = 64
_BUSY_S: Final = 20.0
# The embedded model's end of a turn: without it each answer has all its tokens.
_NO_END: Final = {"2": -100}


@dataclass
class Found:
    """Everything that was measured: tokens a second, seconds to the first token, Jain's index."""

    speed: dict[str, list[float]] = field(default_factory=lambda: {"gateway": [], "alone": []})
    first: dict[str, list[float]] = field(default_factory=lambda: {"gateway": [], "alone": []})
    seven: list[float] = field(default_factory=list)
    seven_beside: list[float] = field(default_factory=list)
    jain: list[float] = field(default_factory=list)


class Place:
    """Where to ask: the gateway with a key for each person, or llama-server's socket."""

    def __init__(self, session: aiohttp.ClientSession, url: str, keys: list[str] | None = None) -> None:
        self._session, self._url, self._keys = session, url, keys
        self._number = 0

    async def ask(self, person: int, tokens: int = _TOKENS) -> tuple[float, int]:
        """One streamed answer: seconds to its first token, and its tokens."""
        self._number += 1
        words = f"{self._number}: tell person {person} a story about the sea, the wind and number {self._number}."
        body = {
            "model": "chat",
            "messages": [{"role": "user", "content": words}],
            "max_tokens": tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logit_bias": _NO_END,
        }
        headers = {"authorization": f"Bearer {self._keys[person]}"} if self._keys else {}
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

    async def together(self, people: range) -> tuple[float, list[float]]:
        """One request of each at once: tokens a second over all, and each one's seconds to the first token."""
        began = time.monotonic()
        found = await asyncio.gather(*(self.ask(person) for person in people))
        return sum(count for _, count in found) / (time.monotonic() - began), [first for first, _ in found]


async def _round(gateway: Place, alone: Place, found: Found) -> None:
    for name, place in (("gateway", gateway), ("alone", alone)):
        speed, first = await place.together(range(8))
        found.speed[name].append(speed)
        found.first[name] += first
    found.seven += (await gateway.together(range(7)))[1]
    greedy = [asyncio.create_task(gateway.ask(7)) for _ in range(_GREEDY)]
    await asyncio.sleep(1.0)
    found.seven_beside += (await gateway.together(range(7)))[1]
    for task in greedy:
        task.cancel()
    await asyncio.gather(*greedy, return_exceptions=True)
    await asyncio.sleep(0.5)


async def _busy(gateway: Place) -> float:
    """Jain's index of the tokens that eight people got who always have two requests under way."""
    tokens = [0] * 8
    until = time.monotonic() + _BUSY_S

    async def go_on(person: int) -> None:
        while time.monotonic() < until:
            tokens[person] += (await gateway.ask(person))[1]

    await asyncio.gather(*(go_on(person) for person in range(8) for _ in range(2)))
    return sum(tokens) ** 2 / (8 * sum(count * count for count in tokens))


class Box:
    """A box with the embedded model in a folder of its own."""

    def __init__(self, folder: Path, slots: int) -> None:
        self.folder = folder
        self.port = 20_000 + os.getpid() % 20_000
        self._place = ["--config", str(folder / "appliance.toml"), "--state", str(folder / "var")]
        settings = f"[gateway]\nport = {self.port}\n[engines.chat]\nslots = {slots}\ncontext = 1024\n"
        (folder / "appliance.toml").write_text(settings)

    def run(self, *words: str) -> str:
        """What a command prints."""
        command = [sys.executable, "-m", "appliance", *self._place, *words]
        return subprocess.run(command, cwd=BENCH.parent, check=True, stdout=subprocess.PIPE, text=True).stdout

    def key(self, owner: str) -> str:
        """A person's key."""
        return str(json.loads(self.run("keys", "create", "--owner", owner, "--json"))["key"])

    def socket(self) -> str:
        """The engine's socket."""
        deployment = json.loads((self.folder / "var/deployment.json").read_text())
        return str(deployment["engines"][0]["socket"])


async def _measure(box: Box, rounds: int) -> Found:
    keys = [box.key(f"person{number}") for number in range(8)]
    found = Found()
    limit = aiohttp.ClientTimeout(total=600)
    near = aiohttp.UnixConnector(box.socket(), limit=0)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=limit) as through,
        aiohttp.ClientSession(connector=near, timeout=limit) as direct,
    ):
        gateway = Place(through, f"http://127.0.0.1:{box.port}/v1/chat/completions", keys)
        alone = Place(direct, "http://engine/v1/chat/completions")
        await gateway.together(range(8))
        for _ in range(rounds):
            await _round(gateway, alone, found)
        found.jain.append(await _busy(gateway))
    return found


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


def _report(found: Found) -> bool:
    speed = {name: median(values) for name, values in found.speed.items()}
    first = {name: median(values) * 1000 for name, values in found.first.items()}
    seven, beside = _p95(found.seven), _p95(found.seven_beside)
    rows = (
        ("tokens a second of 8, of llama-server alone", speed["gateway"] / speed["alone"], SHARE_OF_ALONE, True),
        ("p50 to the first token, ms more than alone", first["gateway"] - first["alone"], FIRST_TOKEN_MS, False),
        ("p95 of the seven beside a greedy one, times", beside / seven, GREEDY_TIMES, False),
        ("Jain's index of 8 who are equally busy", found.jain[0], JAIN, True),
    )
    print(f"through the gateway {speed['gateway']:.0f} tok/s, alone {speed['alone']:.0f}")
    print(f"first token: p50 {first['gateway']:.1f} ms, alone {first['alone']:.1f}")
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
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        box = Box(Path(folder), chosen.slots)
        try:
            box.run("models", "pull", "smollm2-135m-instruct")
            box.run("up", "--no-prove")
            found = asyncio.run(_measure(box, chosen.rounds))
        except (subprocess.CalledProcessError, OSError, RuntimeError) as error:
            print(f"nothing could be measured: {error}", file=sys.stderr)
            return 2
        finally:
            box.run("down")
    return 0 if _report(found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
