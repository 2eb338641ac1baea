"""What the planner says a model needs, against what llama-server then takes.

    python -m bench.memory [--small] [--only SHAPE ...] [--model FILE.gguf ...]

Starts the installed engine on files of real models' shapes, computes a full micro-batch on each slot (on the first
alone for large ones), and reads the memory that the process cannot give back. `--small` leaves out what takes minutes,
`--only` all shapes but those that it names, `--model` adds real files. Exit status: 0 every plan within its limits, 1
one is not, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.artifacts.gguf import shape
from appliance.engine.arguments import EnginePlan, server_arguments
from appliance.engine.location import find
from appliance.errors import ApplianceError
from appliance.hardware.probe import probe
from appliance.selector.memory import MICRO_BATCH, Load, need
from appliance.units import MIB
from bench.synthetic import SHAPES, write

# How far a plan may be off, and how far below what is taken.
MOST_OFF = 0.08
MOST_UNDER = 0.03
_START_S = 300
_ANSWER_S = 900


@dataclass(frozen=True)
class Case:
    """One model and how it is run. `slow` ones take minutes on two cores."""

    shape: str
    type: str
    load: Load
    slow: bool = False


CASES = (
    Case("tinyllama-1.1b", "Q8_0", Load(2048, 4)),
    Case("tinyllama-1.1b", "Q4_0", Load(2048, 8)),
    Case("tinyllama-1.1b", "Q4_0", Load(2048, 8, "q8_0", repack=False)),
    Case("llama3.2-3b", "Q4_K", Load(8192, 2, "q8_0"), slow=True),
    Case("llama3.2-3b", "Q8_0", Load(4096, 4), slow=True),
    Case("llama2-7b", "Q4_0", Load(2048, 4), slow=True),
    Case("mistral-7b", "Q4_0", Load(8192, 4, "q8_0"), slow=True),
    Case("mistral-7b", "Q4_0", Load(32768, 1, repack=False), slow=True),
    Case("llama3-8b", "Q6_K", Load(4096, 2), slow=True),
    Case("mistral-nemo-12b", "Q4_K", Load(16384, 1, repack=False), slow=True),
    Case("llama2-13b", "Q4_0", Load(2048, 2, repack=False), slow=True),
    Case("qwen3-14b", "Q4_0", Load(4096, 1, "q8_0"), slow=True),
)
REAL_LOADS = (Load(2048, 1), Load(8192, 4), Load(8192, 4, "q8_0"), Load(2048, 8, "q8_0"))


@dataclass(frozen=True)
class Row:
    """One measurement: what was planned and what was taken, in bytes."""

    name: str
    load: Load
    planned: int
    taken: int
    mapped_planned: int
    mapped_taken: int

    @property
    def off(self) -> float:
        """How far the plan was from the truth; negative when it was too low."""
        return self.planned / self.taken - 1

    @property
    def is_good(self) -> bool:
        """Whether that is within the limits."""
        return -MOST_UNDER <= self.off <= MOST_OFF


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("engine", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def measure(file: Path, load: Load, tokens: int, filled: int, folder: Path) -> tuple[int, int]:
    """The bytes that llama-server cannot give back, and those mapped from files, with so many tokens on some slots."""
    endpoint = folder / "engine.sock"
    endpoint.unlink(missing_ok=True)
    threads = probe().cores
    plan = EnginePlan(
        "bench", "bench", str(file), str(endpoint), load.context, load.slots, threads, load.kv, load.repack
    )
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(server_arguments(str(find()), plan), stdout=log, stderr=log)
    try:
        _wait(process, endpoint, folder / "engine.log")
        with ThreadPoolExecutor(filled) as pool:
            list(pool.map(lambda slot: _fill(endpoint, slot, tokens), range(filled)))
        status = Path(f"/proc/{process.pid}/status").read_text()
        return _field(status, "RssAnon"), _field(status, "RssFile")
    finally:
        # Not asked: an engine that still computes would end when it has.
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], endpoint: Path, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        connection = _UnixConnection(endpoint)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise RuntimeError(f"the engine did not start: {log.read_text(errors='replace')[-500:]}")


def _fill(endpoint: Path, slot: int, tokens: int) -> None:
    """Have a slot read so many tokens, and write a few."""
    prompt = [300 + slot, *[400] * (tokens - 1)]
    connection = _UnixConnection(endpoint)
    body = json.dumps({"prompt": prompt, "n_predict": 4, "id_slot": slot})
    connection.request("POST", "/completion", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"the engine answered {answer.status}: {said[:300]!r}")


def _field(status: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def rows(small: bool, only: list[str], models: list[Path]) -> Iterator[Row]:
    """Every case in turn, of some shapes only where any is named."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-") as scratch:
        folder = Path(scratch)
        for model in models:
            for load in REAL_LOADS:
                yield _row(model.name, model, load, load.slots, folder)
        for case in CASES:
            if (case.slow and small) or (only and case.shape not in only):
                continue
            file = folder / "model.gguf"
            write(file, replace(SHAPES[case.shape], type=case.type))
            filled = 1 if case.slow else case.load.slots
            yield _row(f"{case.shape} {case.type}", file, case.load, filled, folder)


def _row(name: str, file: Path, load: Load, filled: int, folder: Path) -> Row:
    known = shape(file)
    planned = need(known, load, probe().cpu_flags)
    # A micro-batch and some, and enough to fill a window: what comes after takes no more.
    tokens = min(load.context - 16, known.window + MICRO_BATCH + 64)
    taken, mapped = measure(file, load, tokens, filled, folder)
    return Row(name, load, planned.host_bytes, taken, planned.mapped_bytes, mapped)


def show(row: Row) -> str:
    """A row of the table."""
    load = row.load
    repack = "yes" if load.repack else "no"
    return (
        f"| {row.name} | {load.context} | {load.slots} | {load.kv} | {repack} "
        f"| {row.planned / MIB:.0f} | {row.taken / MIB:.0f} | {row.off:+.1%} "
        f"| {row.mapped_planned / MIB:.0f} | {row.mapped_taken / MIB:.0f} | {'yes' if row.is_good else '**NO**'} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--model", type=Path, action="append", default=[])
    options = parser.parse_args()
    print("| model | context | slots | kv | repack | planned MiB | taken MiB | off | file MiB | mapped MiB | good |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    good = True
    try:
        for row in rows(options.small, options.only, options.model):
            print(show(row), flush=True)
            good = good and row.is_good
    except (ApplianceError, RuntimeError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
