"""When to start a process again, and when to say that it does not stay up: pure rules."""

from __future__ import annotations

_FIRST_S = 0.2
_LONGEST_S = 30.0
# More doublings than it takes to reach the longest wait, and few enough for a float.
_DOUBLINGS = 16
# A process that stayed ready this long has earned a fresh start of the count.
SETTLED_S = 60.0
# Failures in a row after which a process counts as failed. It is still tried, ever more rarely.
FAILURES_UNTIL_FAILED = 5


def delay_s(failures: int) -> float:
    """Seconds to wait before the next try, after `failures` (1 or more) in a row."""
    return min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, _DOUBLINGS))


def failures_after(failures: int, ready_s: float | None) -> int:
    """Failures in a row once a process has ended that was ready for `ready_s` (None: never)."""
    if ready_s is not None and ready_s >= SETTLED_S:
        return 1
    return failures + 1
