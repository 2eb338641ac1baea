"""A morning: fifty people sign in within ten seconds, while answers stream.

    python -m bench.sign_in [--rounds N] [--people N]

Starts a box with sign-on in front of the fake engine, which sends a chunk every 25 ms, so that whatever else is between
two of them is ours. In each round four answers stream through the gateway for ten seconds while nobody signs in, and
for ten more while the fifty do, spread evenly: each in a browser of their own, from the program's first request over
the page and the password (hashed with argon2id, as always) to the tokens for the code.

Exit status: 0 both limits kept, 1 one broken, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Final

from appliance.errors import ApplianceError
from bench import tools
from bench.chat_box import ChatBox, chat_box
from bench.report import Check, limits_table
from tests.support.sign_on import Browser, Program, back

SIGN_IN_S: Final = 2.0
STUTTER_MS: Final = 50.0
_SECONDS: Final = 10.0
_STREAMS: Final = 4
_DELAY_MS: Final = 25
# Whoever came last is still to be answered while the streams go on.
_AFTER_S: Final = 2.0


@dataclass
class Found:
    """All that was measured: seconds of each sign-in, and gaps in ms of each round, quiet and with sign-ins."""

    sign_ins: list[float] = field(default_factory=list)
    quiet: list[list[float]] = field(default_factory=list)
    busy: list[list[float]] = field(default_factory=list)


def checks(found: Found) -> list[Check]:
    """The figures beside their limits. What sign-ins add to the gaps is the median of the rounds' own differences."""
    added = median(p99(busy) - p99(quiet) for quiet, busy in zip(found.quiet, found.busy, strict=True))
    return [
        Check("seconds of a sign-in, p95", _part(found.sign_ins, 95), SIGN_IN_S),
        Check("ms that sign-ins add to the p99 between two tokens", added, STUTTER_MS),
    ]


def summary(found: Found) -> str:
    """The figures behind those."""
    slow = [f"{p99(one):.1f}" for one in found.quiet]
    busy = [f"{p99(one):.1f}" for one in found.busy]
    return (
        f"{len(found.sign_ins)} sign-ins: p50 {median(found.sign_ins):.2f} s, p95 {_part(found.sign_ins, 95):.2f}, "
        f"the longest {max(found.sign_ins):.2f}.\n"
        f"p99 between two tokens, by rounds, ms: {', '.join(slow)} alone; {', '.join(busy)} beside sign-ins; "
        f"the longest {max(max(one) for one in found.quiet):.0f} and {max(max(one) for one in found.busy):.0f}."
    )


def p99(gaps: Sequence[float]) -> float:
    """Of gaps in milliseconds."""
    return _part(gaps, 99)


def _part(values: Sequence[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def _measure(made: ChatBox, people: int, rounds: int) -> Found:
    for number in range(people):
        made.sign_on.person(f"person{number}")
    about = made.sign_on.client("A program", redirects=["http://127.0.0.1:9/callback"])
    key, found = made.box.key("bench"), Found()
    # What a process does at its first request is not what is measured.
    _sign_in(made, about, 0)
    for _ in range(rounds):
        found.quiet.append(_gaps(_reading(made, key), _SECONDS))
        reader = _reading(made, key)
        found.sign_ins += _morning(made, about, people)
        found.busy.append(_gaps(reader, _SECONDS))
    return found


def _morning(made: ChatBox, about: dict[str, Any], people: int) -> list[float]:
    """So many come evenly: how long it took each."""
    began = time.monotonic()

    def comes(number: int) -> float:
        time.sleep(max(0.0, began + number * _SECONDS / people - time.monotonic()))
        return _sign_in(made, about, number)

    with ThreadPoolExecutor(people) as pool:
        return list(pool.map(comes, range(people)))


def _sign_in(made: ChatBox, about: dict[str, Any], number: int) -> float:
    """Seconds from a program's request, in a browser that has never been there, to the tokens for its code."""
    browser, program = Browser(made.sign_on), Program(made.sign_on, about)
    began = time.monotonic()
    said = browser.sign_in(f"person{number}@example.com", at=program.request())
    if said.status != 303:
        raise tools.BenchError(f"a sign-in was answered with {said.status}: {said.text}")
    code = back(browser.ask("GET", said.location))["code"]
    if program.exchange(code).status != 200:
        raise tools.BenchError("there were no tokens for a code")
    return time.monotonic() - began


def _reading(made: ChatBox, key: str) -> subprocess.Popen[str]:
    """Four who read along, as a process of its own."""
    words = [str(made.box.port), key, str(_STREAMS), str(_SECONDS + _AFTER_S)]
    return subprocess.Popen([sys.executable, "-m", "bench.gaps", *words], stdout=subprocess.PIPE, text=True)


def _gaps(reader: subprocess.Popen[str], seconds: float) -> list[float]:
    said, _ = reader.communicate(timeout=seconds + 60)
    read: dict[str, Any] = json.loads(said or "{}")
    if reader.returncode or read["failed"] or not read["gaps_ms"]:
        raise tools.BenchError(f"the streams could not be read: {read}")
    return list(read["gaps_ms"])


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--people", type=int, default=50)
    chosen = parser.parse_args()
    try:
        with chat_box(page=False, caddy=False) as (made, engine):
            engine.control(chunks=int((_SECONDS + _AFTER_S + 20) * 1000 / _DELAY_MS), delay_ms=_DELAY_MS)
            found = _measure(made, chosen.people, chosen.rounds)
    except (tools.BenchError, ApplianceError, AssertionError, subprocess.SubprocessError, OSError) as error:
        print(f"nothing could be measured: {error}", file=sys.stderr)
        return 2
    verdicts = checks(found)
    print("\n".join([tools.place(), "", summary(found), "", *limits_table(verdicts)]))
    return 0 if all(one.kept for one in verdicts) else 1


if __name__ == "__main__":
    raise SystemExit(main())
