"""What counted books must be: values, limits and verdicts. Counts nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.report import Check

CANCELLED_WITHIN_SECONDS = 0.2
PROMPT_TOKENS, COMPLETION_TOKENS = 20, 64  # what the fake engine says of every answer
FIFTY, WORTH = 50, 5  # calls at once, and how many of them the budget is for


@dataclass(frozen=True)
class Limits:
    """What the counts must be. All that is lost, doubled or left open must be nothing at all."""

    share_kept: float = 1.0  # of the streams hung up: cancelled in time, and settled
    p50_beside_slow: float = 1.1  # median of normal streams beside slow readers over that without
    growth_mib_per_slow_reader: float = 1.5  # 1.1 measured, whatever the length; without a bound it would be 3.5


@dataclass(frozen=True)
class HangUps:
    """Streams that their clients left, and what became of them."""

    streams: int
    cancelled: int
    last_after_ms: float
    settled: int
    budgets_off: int


@dataclass(frozen=True)
class Kills:
    """What all kills together left behind; each figure but the first three must be 0, and `integrity` "ok".

    `budgets_off` are the tokens by which what the budgets count differs from the sum of the rows.
    """

    kills: int
    complete: int
    interrupted: int
    without_row: int
    charged_twice: int
    charged_wrong: int
    open: int
    budgets_off: int
    integrity: str


@dataclass(frozen=True)
class SlowReaders:
    """Normal streams beside `readers` slow ones; times in milliseconds."""

    readers: int
    p50_without: float
    p50_beside: float
    growth_mib: float
    failed: int


def check_hang_ups(found: HangUps, limits: Limits) -> list[Check]:
    """All cancelled in time, all settled."""
    at_once = f"{CANCELLED_WITHIN_SECONDS * 1e3:.0f} ms (the last after {found.last_after_ms:.0f})"
    wanted = limits.share_kept * found.streams
    return [
        Check(
            f"of {found.streams} streams hung up: cancelled within {at_once}", found.cancelled, wanted, at_least=True
        ),
        Check(f"of {found.streams} streams hung up: rows settled", found.settled, wanted, at_least=True),
        Check("tokens that budgets count after the hang-ups, off the sum of the rows", abs(found.budgets_off), 0),
    ]


def check_kills(found: Kills) -> list[Check]:
    """Nothing lost, nothing doubled, nothing left open; and enough happened for that to mean something."""
    after = f"after {found.kills} kills"
    return [
        Check(f"complete answers {after}", found.complete, found.kills, at_least=True),
        Check(f"calls cut off {after}", found.interrupted, 1, at_least=True),
        Check("complete answers without a row of their own", found.without_row, 0),
        Check("answers charged twice", found.charged_twice, 0),
        Check("complete answers charged otherwise than the engine counted", found.charged_wrong, 0),
        Check("rows open after the restarts", found.open, 0),
        Check("tokens that budgets count after the restarts, off the sum of the rows", abs(found.budgets_off), 0),
        Check(f"databases whose integrity_check is not ok ({found.integrity})", int(found.integrity != "ok"), 0),
    ]


def check_slow_readers(found: SlowReaders, limits: Limits) -> list[Check]:
    """Neither slower for the others, nor larger for the machine."""
    beside = f"beside {found.readers} slow readers"
    slower = found.p50_beside / max(1e-9, found.p50_without)
    p50 = f"{found.p50_beside:.0f} ms, {found.p50_without:.0f} without"
    return [
        Check(f"p50 of normal streams {beside} ({p50}), times", slower, limits.p50_beside_slow),
        Check(
            f"PSS MiB grown, files apart, {beside}", found.growth_mib, limits.growth_mib_per_slow_reader * found.readers
        ),
        Check(f"normal streams failed {beside}", found.failed, 0),
    ]


def weigh(
    rows: Sequence[tuple[str, str, int, int, int]],
    complete: Sequence[str],
    times: int,
    left_open: int,
    off: int,
    integrity: str,
) -> Kills:
    """What ledger rows (request id, outcome, tokens of prompt and completion, exact) say of the answers that came."""
    by_id = {row[0]: row[1:] for row in rows}
    held = set(complete)
    right = ("complete", PROMPT_TOKENS, COMPLETION_TOKENS, 1)
    return Kills(
        kills=times,
        complete=len(complete),
        interrupted=sum(row[1] == "interrupted" for row in rows),
        # An answer that shares its id with another has no row of its own.
        without_row=sum(by_id.get(one, ("",))[0] != "complete" for one in held) + len(complete) - len(held),
        charged_twice=len(rows) - len(by_id),
        charged_wrong=sum(row != right for row in by_id.values() if row[0] == "complete"),
        open=left_open,
        budgets_off=off,
        integrity=integrity,
    )


def check_fifties(times: int, exact: int, refused_after: int) -> list[Check]:
    """Exactly five each time, and a restart gives nobody more."""
    runs = f"of {times} runs of {FIFTY} at once on a budget worth {WORTH}"
    return [
        Check(f"{runs}: exactly {WORTH} pass", exact, times, at_least=True),
        Check(f"{runs}: the next is refused after a restart", refused_after, times, at_least=True),
    ]
