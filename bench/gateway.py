"""What the gateway costs, beside its peers and beside the same load sent straight to a fake engine.

    python -m bench.gateway [--quick] [--rounds N] [--seconds S] [--peers NAMES] [--long] [--save FILE]

Run it from the root of the checkout, with the interpreter that has the gateway's requirements.
Exit status: 0 all limits kept, 1 a limit broken, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from bench import peers, processes, report, tools
from bench.peers import NotHereError, Peer
from bench.report import OURS, PLAIN, STREAMS, Check, Limits, Sample
from bench.tools import BenchError, Case, Load

CASES = (*PLAIN, *STREAMS)
WARM_UP = (Case(8), Case(4, report.CHUNKS))
WARM_UP_REQUESTS = 300
WARM_UP_SECONDS = 3.0
MOST_REQUESTS = 200_000  # in one run, should the seconds not end it first
COLD_STARTS = 3
SLOW_START_SECONDS = 5.0  # who takes longer is not started a third time
SETTLE_SECONDS = 0.1  # for what a gateway still writes once its answers are out
LONG_REQUESTS, LONG_FIRST, LONG_CASE = 100_000, 10_000, Case(16)
LONG_LIMIT_SECONDS = 500.0


@dataclass(frozen=True)
class Plan:
    """How much to measure, and beside whom."""

    rounds: int
    seconds: float
    peers: tuple[str, ...]
    cold_starts: int = COLD_STARTS
    long: bool = False


def main() -> int:
    """Measures, prints the report and returns the exit status."""
    options = _parse_arguments()
    rounds, seconds, starts = (1, 0.5, 1) if options.quick else (options.rounds, options.seconds, COLD_STARTS)
    plan = Plan(rounds, seconds, options.peers, starts, options.long)
    signal.signal(signal.SIGTERM, leave)  # so that the clean-up below happens then too
    try:
        table = measure(plan)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    text = report.markdown(table)
    sys.stdout.write(text)
    if options.save is not None:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        options.save.write_text(text)
    return 0 if all(one.kept for one in table.checks) else 1


def measure(plan: Plan) -> report.Table:
    """All rounds over all peers, and the long run if it is wanted."""
    title = _title(plan)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, tools.Engine() as engine:
        everyone, absent = _make(plan, Path(folder), engine.port)
        try:
            for peer in everyone:
                _start(peer, plan)
                _warm_up(engine, peer)
            samples = [
                sample
                for number in range(plan.rounds)
                for case in CASES
                for sample in _visit(engine, everyone, case, number, plan.seconds)
            ]
        finally:
            for peer in everyone:
                peer.stop()
        growth = _long_run(engine, everyone[0]) if plan.long else []
    figures = report.summarise(samples, {peer.name: peer.cold_starts for peer in everyone})
    titles = {peer.name: peer.recipe.title for peer in everyone}
    checks = [*report.check(samples, figures, Limits()), *growth]
    return report.Table(title, titles, figures, checks, absent)


def _make(plan: Plan, folder: Path, engine_port: int) -> tuple[list[Peer], dict[str, str]]:
    """Ours and the peers asked for, and why some of them cannot be had."""
    everyone, absent = [], {}
    for name in (OURS, *plan.peers):
        try:
            everyone.append(peers.make(name, folder, engine_port))
        except NotHereError as reason:
            absent[name] = str(reason)
    return everyone, absent


def _start(peer: Peer, plan: Plan) -> None:
    """Starts a peer some times, for its cold start; the last start is left running."""
    peer.start()
    while len(peer.cold_starts) < plan.cold_starts:
        if len(peer.cold_starts) > 1 and min(peer.cold_starts) > SLOW_START_SECONDS:
            break
        peer.stop()
        peer.start()
    if peer.name == OURS:
        peer.wait_for("/ready")


def _warm_up(engine: tools.Engine, peer: Peer) -> None:
    """Fills caches and pools, and finds out at once when nothing works."""
    engine.control(chunks=report.CHUNKS, delay_ms=0, wait_ms=0)
    for case in WARM_UP:
        load = _load(peer, case, WARM_UP_SECONDS, WARM_UP_REQUESTS)
        if load.failed:
            failed = f"{load.failed} of {load.finished} requests failed"
            raise BenchError(f"{peer.name}: {case.name}, to warm up: {failed}; the first: {load.first_error}")


def _visit(engine: tools.Engine, everyone: list[Peer], case: Case, number: int, seconds: float) -> list[Sample]:
    """One case in one round: the engine alone and each peer, one right after the other.

    Who begins changes from round to round: a machine that slows down then favours nobody.
    """
    direct, measured = None, []
    first = number % (len(everyone) + 1)
    for peer in [*everyone, None][first:] + [*everyone, None][:first]:
        if peer is None:
            direct = tools.run_load(engine.port, case, seconds=seconds, requests=MOST_REQUESTS)
            continue
        before = processes.cpu_seconds(peer.pid)
        load = _load(peer, case, seconds, MOST_REQUESTS)
        time.sleep(SETTLE_SECONDS)
        measured.append((peer, load, processes.cpu_seconds(peer.pid) - before, processes.pss_mib(peer.pid)))
    assert direct is not None
    return [Sample(peer.name, number, case, load, direct, cpu, pss) for peer, load, cpu, pss in measured]


def _long_run(engine: tools.Engine, ours: Peer) -> list[Check]:
    """Whether 100,000 requests leave the gateway as large as the first 10,000 did; nobody else runs meanwhile."""
    engine.control(delay_ms=0)
    ours.start()
    try:
        ours.wait_for("/ready")
        first = _load(ours, LONG_CASE, LONG_LIMIT_SECONDS, LONG_FIRST)
        time.sleep(SETTLE_SECONDS)
        early = processes.own_mib(ours.pid)
        rest = _load(ours, LONG_CASE, LONG_LIMIT_SECONDS, LONG_REQUESTS - LONG_FIRST)
        time.sleep(SETTLE_SECONDS)
        late = processes.own_mib(ours.pid)
    finally:
        ours.stop()
    missing = LONG_REQUESTS - first.finished - rest.finished
    return report.check_growth(early, late, first.failed + rest.failed + missing, Limits())


def _load(peer: Peer, case: Case, seconds: float, requests: int) -> Load:
    return tools.run_load(peer.port, case, seconds=seconds, requests=requests, key=peer.recipe.key)


def _title(plan: Plan) -> str:
    rounds = "One round" if plan.rounds == 1 else f"Medians of {plan.rounds} rounds"
    return f"{tools.place()} {rounds}, {plan.seconds:g} s a run."


def leave(number: int, _frame: FrameType | None) -> None:
    """Ends the program upon a signal, by way of its clean-up."""
    sys.exit(128 + number)


def _names(text: str) -> tuple[str, ...]:
    """The peers of a comma-separated list; an empty one measures ours alone."""
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    unknown = [name for name in names if name not in peers.MAKERS or name == OURS]
    if unknown:
        known = ", ".join(name for name in peers.MAKERS if name != OURS)
        raise argparse.ArgumentTypeError(f"no such peer: {', '.join(unknown)}; there are {known}")
    return names


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 101), metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="length of one run")
    parser.add_argument("--quick", action="store_true", help="one round of half-second runs")
    usual = ",".join(peers.USUAL)
    parser.add_argument("--peers", type=_names, default=peers.USUAL, metavar="NAMES", help=f"default: {usual}")
    parser.add_argument("--long", action="store_true", help="also 100,000 requests: does the memory grow?")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the report there too")
    options = parser.parse_args()
    if not 0 < options.seconds <= 60:
        parser.error("--seconds: more than 0, at most 60")
    return options


if __name__ == "__main__":
    sys.exit(main())
