"""Whether the books of ours stay right: counts, where gateway.py takes times.

    python -m bench.books [--kills N] [--fifties N] [--only hang-ups,slow-readers,kills,fifties] [--save FILE]

Exit status: 0 all counts as they must be, 1 one is not, 2 nothing could be counted.
"""

from __future__ import annotations

import argparse
import http.client
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from bench import peers, processes, report, tools
from bench.book_checks import (
    CANCELLED_WITHIN_SECONDS,
    FIFTY,
    WORTH,
    HangUps,
    Kills,
    Limits,
    SlowReaders,
    check_fifties,
    check_hang_ups,
    check_kills,
    check_slow_readers,
    weigh,
)
from bench.gateway import leave
from bench.peers import Peer
from bench.report import Check
from bench.tools import BenchError, Case

CHUNKS = 64
CHUNK_DELAY_MS = 10
HANG_UPS, HUNG_UP_AFTER = 20, 10
SETTLED_WITHIN_SECONDS = 5.0
POLL_SECONDS = 0.005

KILL_MOMENTS = (0.05, 0.6)  # seconds of load before a kill, drawn anew each time
KILL_CLIENTS = 5  # of each kind, plain and streamed
KILL_CHUNKS, KILL_DELAY_MS = 6, 20  # a stream is long beside the gaps between two: some are cut off
KILL_AFTERMATH_SECONDS = 0.05  # so long the clients still try to send once the gateway is gone

SLOW = (16, 64)
SLOW_BYTES_PER_SECOND = 20_000
SLOW_CHUNKS = 30_000  # 6 MB, sent by the engine in one piece: more than the kernel's buffers hide
SLOW_PATIENCE_SECONDS = 600
SLOW_START_SECONDS = 30.0
CALM_SHARE, CALM_SECONDS = 0.3, 0.5  # of a processor: the engine's burst is through, now the readers set the pace
NORMAL = Case(16, CHUNKS, CHUNK_DELAY_MS)
NORMAL_SECONDS = 6.0
MANY = 1_000_000


def hang_ups(engine: tools.Engine, ours: Peer) -> list[Check]:
    """Twenty streams at once, each left after 10 of 64 chunks; undisturbed they would run half a second longer."""
    counted = _counted(ours)
    engine.control(chunks=CHUNKS, delay_ms=CHUNK_DELAY_MS, wait_ms=0)
    before = engine.control()["streams_aborted"]
    rows_before = _count(ours, "settled_at IS NOT NULL")
    left = _load(ours, Case(HANG_UPS, CHUNKS), 10, HANG_UPS, "-k", str(HUNG_UP_AFTER))
    began = time.monotonic()
    if left.hung_up != HANG_UPS:
        raise BenchError(f"only {left.hung_up} of {HANG_UPS} streams got so far: {left.first_error}")
    cancelled, waited = 0, 0.0
    while cancelled < HANG_UPS and waited <= CANCELLED_WITHIN_SECONDS:
        cancelled = engine.control()["streams_aborted"] - before
        waited = time.monotonic() - began
        time.sleep(POLL_SECONDS)
    _wait(lambda: _count(ours, "settled_at IS NULL") == 0, SETTLED_WITHIN_SECONDS)
    settled = _count(ours, "settled_at IS NOT NULL") - rows_before
    off = _counted(ours) - counted
    return check_hang_ups(HangUps(HANG_UPS, cancelled, waited * 1e3, settled, off), Limits())


def kills(engine: tools.Engine, ours: Peer, times: int) -> list[Check]:
    """kill -9 under load at a random moment, `times` times, each followed by a restart."""
    counted = _counted(ours)
    engine.control(chunks=KILL_CHUNKS, delay_ms=KILL_DELAY_MS, wait_ms=0)
    dice, complete, left_open = random.Random(), list[str](), 0
    for number in range(times):
        complete += _kill_under_load(ours, dice.uniform(*KILL_MOMENTS))
        ours.start()
        ours.wait_for("/ready")
        left_open += _count(ours, "settled_at IS NULL")
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{number + 1} of {times} kills, {len(complete)} complete answers ")
    off = _counted(ours) - counted
    return check_kills(_kept(ours, complete, times, left_open, off))


def _kill_under_load(ours: Peer, moment: float) -> list[str]:
    """The request ids of the answers that arrived whole, plain and streamed, before and while it was killed."""
    seconds = moment + KILL_AFTERMATH_SECONDS
    cases = (Case(KILL_CLIENTS), Case(KILL_CLIENTS, KILL_CHUNKS))
    ids = [ours.folder / f"ids-{number}" for number in range(len(cases))]
    with ThreadPoolExecutor(len(cases)) as pool:
        loads = [
            pool.submit(_load, ours, case, seconds, MANY, "-i", str(path))
            for case, path in zip(cases, ids, strict=True)
        ]
        time.sleep(moment)
        ours.kill()
        for load in loads:
            load.result()
    return [line for path in ids for line in path.read_text().splitlines()]


def _kept(ours: Peer, complete: list[str], times: int, left_open: int, off: int) -> Kills:
    """The ledger held against the answers that clients hold."""
    with closing(_ledger(ours)) as ledger:
        integrity = str(ledger.execute("PRAGMA integrity_check").fetchone()[0])
        rows = ledger.execute(
            "SELECT request_id, outcome, prompt_tokens, completion_tokens, exact FROM call"
        ).fetchall()
    return weigh(rows, complete, times, left_open, off, integrity)


def fifties(engine: tools.Engine, ours: Peer, times: int) -> list[Check]:
    """Fifty calls at once on a budget worth five, `times` times, each by somebody new and followed by a restart."""
    engine.control(chunks=KILL_CHUNKS, delay_ms=KILL_DELAY_MS, wait_ms=0)
    peers.set_budget(ours, ("user", "*"), "--requests", WORTH, "month")
    exact = refused_after = 0
    for number in range(times):
        key = peers.create_key(ours, f"person{number}")
        passed = _passed(ours, key, FIFTY)
        exact += passed == WORTH
        ours.stop()
        ours.start()
        ours.wait_for("/ready")
        refused_after += _passed(ours, key, 1) == 0
    return check_fifties(times, exact, refused_after)


def _passed(ours: Peer, key: str, calls: int) -> int:
    """How many of so many calls at once were answered."""
    load = tools.run_load(ours.port, Case(calls), seconds=10, requests=calls, key=key)
    if load.finished != calls:
        raise BenchError(f"only {load.finished} of {calls} calls came to an end: {load.first_error}")
    return load.finished - load.failed


def slow_readers(engine: tools.Engine, ours: Peer, readers: int) -> list[Check]:
    """Normal streams alone, then beside clients that read 20 KB a second of answers of 6 MB."""
    engine.control(chunks=CHUNKS, delay_ms=CHUNK_DELAY_MS, wait_ms=0)
    _load(ours, NORMAL, NORMAL_SECONDS / 3, MANY)
    without = _load(ours, NORMAL, NORMAL_SECONDS, MANY)
    small = processes.own_mib(ours.pid)
    slow = _start_slow_readers(engine, ours, readers)
    try:
        beside = _load(ours, NORMAL, NORMAL_SECONDS, MANY)
        large = processes.own_mib(ours.pid)
        if slow.poll() is not None:
            raise BenchError("the slow readers were done too soon for anybody to be beside them")
    finally:
        slow.kill()
        slow.wait(timeout=10)
    failed = without.failed + beside.failed
    return check_slow_readers(SlowReaders(readers, without.p50, beside.p50, large - small, failed), Limits())


def _start_slow_readers(engine: tools.Engine, ours: Peer, readers: int) -> subprocess.Popen[str]:
    """Clients that have begun to read, slowly; whoever asks after them gets answers of the usual length."""
    begun = engine.control(chunks=SLOW_CHUNKS, delay_ms=0)["streams_started"]
    case = Case(readers, SLOW_CHUNKS)
    command = tools.load_command(ours.port, case, seconds=5, requests=readers, key=ours.recipe.key)
    # The last of an option counts.
    command += ["-s", str(SLOW_BYTES_PER_SECOND), "-w", str(SLOW_PATIENCE_SECONDS)]
    slow = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert slow.stdin is not None
    slow.stdin.write(tools.body(case))
    slow.stdin.close()
    if not _wait(lambda: engine.control()["streams_started"] >= begun + readers, SLOW_START_SECONDS):
        slow.kill()
        slow.wait(timeout=10)
        raise BenchError(f"not all of {readers} slow readers were served at once")
    engine.control(chunks=CHUNKS, delay_ms=CHUNK_DELAY_MS)
    _wait(lambda: _is_calm(ours), SLOW_START_SECONDS)
    return slow


def _is_calm(ours: Peer) -> bool:
    before = processes.cpu_seconds(ours.pid)
    time.sleep(CALM_SECONDS)
    return processes.cpu_seconds(ours.pid) - before < CALM_SHARE * CALM_SECONDS


def _load(ours: Peer, case: Case, seconds: float, requests: int, *more: str) -> tools.Load:
    return tools.run_load(ours.port, case, seconds=seconds, requests=requests, key=ours.recipe.key, more=more)


def _counted(ours: Peer) -> int:
    """Tokens that the gateway's budgets have counted, less the sum of the rows, plus what one call holds.

    What a call holds is always the same here: so it cancels out between two of these.
    """
    with closing(_ledger(ours)) as ledger:
        (rows,) = ledger.execute("SELECT total(prompt_tokens + completion_tokens) FROM call").fetchone()
    connection = http.client.HTTPConnection("127.0.0.1", ours.port, timeout=tools.PATIENCE_SECONDS)
    headers = {"authorization": f"Bearer {ours.recipe.key}", "content-type": "application/json"}
    with closing(connection):
        connection.request("POST", "/v1/chat/completions", tools.body(Case(1)), headers)
        answer = connection.getresponse()
        answer.read()
    left = answer.headers["x-ratelimit-remaining-tokens"]
    if left is None:
        raise BenchError(f"a call was answered {answer.status}, without what is left of its budgets")
    return peers.PLENTY - int(left) - int(rows)


def _ledger(ours: Peer) -> sqlite3.Connection:
    return sqlite3.connect(ours.folder / "state" / "appliance.db")


def _count(ours: Peer, condition: str) -> int:
    """How many rows meet one of our own conditions."""
    with closing(_ledger(ours)) as ledger:
        found: int = ledger.execute(f"SELECT count(*) FROM call WHERE {condition}").fetchone()[0]
        return found


def _wait(true: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def count(parts: tuple[str, ...], times: int, rounds: int) -> list[Check]:
    """The parts asked for, on one gateway with one ledger."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, tools.Engine() as engine:
        ours = peers.make(peers.OURS, Path(folder), engine.port)
        ours.start()
        try:
            ours.wait_for("/ready")
            found = []
            if "hang-ups" in parts:
                found += hang_ups(engine, ours)
            if "slow-readers" in parts:
                found += [check for readers in SLOW for check in slow_readers(engine, ours, readers)]
            if "kills" in parts:
                found += kills(engine, ours, times)
            if "fifties" in parts:
                found += fifties(engine, ours, rounds)
            return found
        finally:
            ours.stop()


PARTS = ("hang-ups", "slow-readers", "kills", "fifties")


def main() -> int:
    """Counts, prints the table and returns the exit status."""
    options = _parse_arguments()
    signal.signal(signal.SIGTERM, leave)
    head = tools.place()
    try:
        checks = count(options.only, options.kills, options.fifties)
    except BenchError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    text = "\n".join([head, "", *report.limits_table(checks)]) + "\n"
    sys.stdout.write(text)
    if options.save is not None:
        options.save.parent.mkdir(parents=True, exist_ok=True)
        options.save.write_text(text)
    return 0 if all(one.kept for one in checks) else 1


def _parts(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"there are {', '.join(PARTS)}")
    return names


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.books", description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=20, choices=range(1, 10_001), metavar="N")
    parser.add_argument("--fifties", type=int, default=5, choices=range(1, 1_001), metavar="N")
    parser.add_argument("--only", type=_parts, default=PARTS, metavar="PARTS", help=f"of {','.join(PARTS)}")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the table there too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
