"""Two engines on one processor: what each writes alone, and what both write at the same time.

    python -m bench.neighbours LARGE.gguf SMALL.gguf [--rounds N] [--seconds S]

Runs llama-server with the product's own arguments and priorities: with the threads that the product gives to a large
and a small model beside each other, and with a thread for each core, as people run two. Prints tokens a second,
medians of rounds in turn.

Exit status: 0 the limit is kept, 1 it is broken, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final

from appliance.control.trial import trial
from appliance.engine.arguments import EnginePlan
from appliance.errors import ApplianceError
from appliance.hardware.probe import probe
from appliance.selector.threads import threads
from bench.tools import BenchError, tool

# Together, each writes at least this part of what it writes alone with as many threads.
SHARE_OF_ALONE: Final = 0.5
_SLOTS: Final = 4
_TALKING: Final = 2
_BODY: Final = {
    "messages": [{"role": "user", "content": "Number ########: tell me a story about the sea."}],
    "max_tokens": 24,
    "stream": True,
}
_ROLES: Final = ("chat", "small")


def _write(socket: str, seconds: float) -> float:
    """Tokens a second (chunks of streams) of people who ask without pause."""
    command = [str(tool("loadgen")), "-U", socket, "-c", str(_TALKING), "-t", str(seconds), "-w", "60"]
    done = subprocess.run(command, input=json.dumps(_BODY), capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout)
    return float(found["events"] / found["seconds"]) if found["seconds"] else 0.0


def _round(files: tuple[Path, Path], counts: tuple[int, int], seconds: float, folder: Path) -> list[float]:
    """Tokens a second of the large and the small one: each alone, then both together."""
    with ExitStack() as stack:
        sockets = []
        for role, file, count in zip(_ROLES, files, counts, strict=True):
            plan = EnginePlan(role, role, str(file), str(folder / f"{role}.sock"), 1024, _SLOTS, count)
            sockets.append(stack.enter_context(trial(plan, folder / f"{role}.log")))
        alone = [_write(socket, seconds) for socket in sockets]
        with ThreadPoolExecutor(2) as both:
            together = list(both.map(lambda socket: _write(socket, seconds), sockets))
    return [*alone, *together]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("large", type=Path)
    parser.add_argument("small", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    chosen = parser.parse_args()
    cores = probe().cores
    shared = threads("chat", ("small",), cores), threads("small", ("chat",), cores)
    ways = {f"{shared[0]} and {shared[1]} threads, as we do": shared, f"{cores} and {cores}": (cores, cores)}
    found: dict[str, list[list[float]]] = {name: [] for name in ways}
    try:
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(chosen.rounds):
                for name, counts in ways.items():
                    found[name].append(_round((chosen.large, chosen.small), counts, chosen.seconds, Path(folder)))
    except (BenchError, ApplianceError, subprocess.SubprocessError, OSError) as error:
        print(f"nothing could be measured: {error}", file=sys.stderr)
        return 2
    print("| threads | large alone | small alone | large together | small together |\n|---|---|---|---|---|")
    middles = {name: [median(values) for values in zip(*rounds, strict=True)] for name, rounds in found.items()}
    for name, values in middles.items():
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    ours = next(iter(middles.values()))
    share = min(ours[2] / ours[0], ours[3] / ours[1])
    kept = share >= SHARE_OF_ALONE
    print(
        f"\n- together, of what each writes alone: {share:.2f} (limit {SHARE_OF_ALONE}): {'kept' if kept else 'BROKEN'}"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
