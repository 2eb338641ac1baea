"""What the gateway costs, against the same load sent straight to a fake engine, and through a bare pass-through.

    python -m bench.gateway [--quick] [--rounds N] [--seconds S] [--save FILE]

Run it from the root of the checkout, with the interpreter that has the gateway's requirements.
Exit status: 0 all limits kept, 1 a limit broken, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import FrameType

from bench import processes, report, tools
from bench.tools import BenchError, Case, Load

ROOT = tools.BENCH.parent
CHUNKS = 64
CASES = (
    *(Case(clients) for clients in (1, 16, 64, 256)),
    *(Case(clients, CHUNKS, delay_ms) for delay_ms in (0, 10) for clients in (16, 64)),
)
WARM_UP = (Case(8), Case(4, CHUNKS))
WARM_UP_REQUESTS = 300
MOST_REQUESTS = 200_000  # in one run, should the seconds not end it first
COLD_STARTS = 3
START_LIMIT_SECONDS = 60.0
COMMAND_LIMIT_SECONDS = 120.0
POLL_SECONDS = 0.01
SETTLE_SECONDS = 0.1  # for what a gateway still writes once its answers are out


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    seconds: float


class Peer:
    """The bare pass-through as a process of its own."""

    def __init__(self, engine_port: int) -> None:
        """Starts it on a free port."""
        self.port = _free_port()
        command = [sys.executable, "-m", "bench.passthrough", str(engine_port), str(self.port)]
        self._process = subprocess.Popen(command, cwd=ROOT)
        self.pid = self._process.pid
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while tools.get(self.port, "/health", timeout=1.0)[0] != 200:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise BenchError("the bare pass-through did not start")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ends it."""
        processes.stop(self.pid)
        self._process.wait(timeout=10)


class Gateway:
    """Our gateway as a process of its own, with a config, a state folder and a key in `folder`."""

    def __init__(self, folder: Path, engine_port: int) -> None:
        """Writes the config; starts nothing yet."""
        self._config, self._state = folder / "appliance.toml", folder / "state"
        self._log = folder / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.key = 0, ""
        self._state.mkdir()
        self._config.write_text(f'[engines.chat]\nurl = "http://127.0.0.1:{engine_port}/v1"\nmodel = "{tools.MODEL}"\n')

    @property
    def pid(self) -> int:
        """The id of the running gateway."""
        if self._process is None:
            raise BenchError("the gateway is not running")
        return self._process.pid

    def create_key(self) -> None:
        """Makes the key that the load is sent with, by the command line."""
        command = self._command("keys", "create", "--owner", "bench", "--json")
        done = subprocess.run(
            command,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_SECONDS,
            check=False,
        )
        try:
            self.key = str(json.loads(done.stdout)["key"])
        except (ValueError, KeyError, TypeError) as error:
            raise BenchError(f"no key was created (exit {done.returncode}):\n{done.stderr}") from error

    def start(self) -> float:
        """Starts it on a free port; the seconds until /health first answers 200."""
        self.port = _free_port()
        began = time.monotonic()
        with self._log.open("ab") as log:
            command = self._command("serve", "--port", str(self.port))
            self._process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        self.wait_for("/health")
        return time.monotonic() - began

    def wait_for(self, path: str) -> None:
        """Returns once `path` answers 200; raises when it does not in time or the gateway ends."""
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if tools.get(self.port, path, timeout=1.0)[0] == 200:
                return
            time.sleep(POLL_SECONDS)
        raise BenchError(f"{path} never answered 200; the end of the gateway's log:\n{self._log_tail()}")

    def stop(self) -> None:
        """Ends it and all its descendants; nothing to do when it is not running."""
        if self._process is not None:
            processes.stop(self._process.pid)
            self._process.wait(timeout=10)
            self._process = None

    def _command(self, *arguments: str) -> list[str]:
        place = ["--config", str(self._config), "--state", str(self._state)]
        return [sys.executable, "-m", "appliance", *place, *arguments]

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])


def main() -> int:
    """Measures, prints the report and returns the exit status."""
    options = _parse_arguments()
    plan = Plan(rounds=1, seconds=0.5) if options.quick else Plan(options.rounds, options.seconds)
    signal.signal(signal.SIGTERM, _leave)  # so that the clean-up below happens then too
    try:
        text, kept = measure(plan)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    sys.stdout.write(text)
    if options.save is not None:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        options.save.write_text(text)
    return 0 if kept else 1


def measure(plan: Plan) -> tuple[str, bool]:
    """The report as Markdown, and whether all limits were kept."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, tools.Engine() as engine:
        gateway = Gateway(Path(folder), engine.port)
        gateway.create_key()
        peer = Peer(engine.port)
        try:
            cold_start = _cold_start(gateway)
            gateway.wait_for("/ready")
            _warm_up(engine, gateway)
            samples = [
                _sample(case, plan, engine, gateway, peer, gateway_first=number % 2 == 1)
                for number in range(plan.rounds)
                for case in CASES
            ]
        finally:
            gateway.stop()
            peer.stop()
    rows = report.summarise(samples)
    checks = report.check(rows, cold_start, report.Limits())
    return report.markdown(_title(plan), rows, checks), all(one.kept for one in checks)


def _cold_start(gateway: Gateway) -> float:
    """The median of some starts, in seconds; the last one is left running."""
    seconds = []
    for _ in range(COLD_STARTS):
        gateway.stop()
        seconds.append(gateway.start())
    return median(seconds)


def _warm_up(engine: tools.Engine, gateway: Gateway) -> None:
    """Fills caches and pools, and finds out at once when nothing works."""
    engine.control(chunks=CHUNKS, delay_ms=0, wait_ms=0)
    for case in WARM_UP:
        load = tools.run_load(gateway.port, case, seconds=5, requests=WARM_UP_REQUESTS, key=gateway.key)
        if load.failed:
            failed = f"{load.failed} of {load.finished} requests failed"
            raise BenchError(f"{case.name}, to warm up: {failed}; the first: {load.first_error}")


def _sample(
    case: Case, plan: Plan, engine: tools.Engine, gateway: Gateway, peer: Peer, *, gateway_first: bool
) -> report.Sample:
    """One case, direct, through the gateway and through its peer, one right after the other.

    Which goes first changes from round to round: a machine that slows down then favours neither.
    """
    engine.control(chunks=case.chunks or CHUNKS, delay_ms=case.delay_ms)

    def load(port: int, its_key: str | None) -> Load:
        return tools.run_load(port, case, seconds=plan.seconds, requests=MOST_REQUESTS, key=its_key)

    direct = None if gateway_first else load(engine.port, None)
    peer_before = processes.cpu_seconds(peer.pid)
    through_peer = load(peer.port, None)
    peer_cpu_seconds = processes.cpu_seconds(peer.pid) - peer_before
    before = processes.cpu_seconds(gateway.pid)
    through = load(gateway.port, gateway.key)
    time.sleep(SETTLE_SECONDS)
    return report.Sample(
        case=case,
        gateway=through,
        cpu_seconds=processes.cpu_seconds(gateway.pid) - before,
        pss_mib=processes.pss_mib(gateway.pid),
        direct=direct or load(engine.port, None),
        peer=through_peer,
        peer_cpu_seconds=peer_cpu_seconds,
    )


def _title(plan: Plan) -> str:
    rounds = "1 round" if plan.rounds == 1 else f"medians of {plan.rounds} rounds"
    return (
        f"Gateway against the fake engine alone: {rounds}, {plan.seconds:g} s a run, "
        f"Python {platform.python_version()}, {len(os.sched_getaffinity(0))} CPUs shared by all."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 101), metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="length of one run")
    parser.add_argument("--quick", action="store_true", help="one round of half-second runs")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the report there too")
    options = parser.parse_args()
    if not 0 < options.seconds <= 600:
        parser.error("--seconds: more than 0, at most 600")
    return options


if __name__ == "__main__":
    sys.exit(main())
