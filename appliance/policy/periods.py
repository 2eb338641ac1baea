"""Calendar windows in UTC: the minute, day, week or month that an instant lies in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

PERIODS: Final = ("minute", "day", "week", "month")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MINUTE: Final = 60_000_000
_DAY: Final = 24 * 60 * _MINUTE
_WEEK: Final = 7 * _DAY
# 1 January 1970 was a Thursday: the Monday before it lies three days earlier.
_MONDAY: Final = -3 * _DAY


def bounds(period: str, at: int) -> tuple[int, int]:
    """The first instant of a period's window around `at`, and the first one after it; microseconds since 1970 UTC."""
    if period == "minute":
        return _even(at, _MINUTE, 0)
    if period == "day":
        return _even(at, _DAY, 0)
    if period == "week":
        return _even(at, _WEEK, _MONDAY)
    if period != "month":
        raise ValueError(f"{period!r} is no period")
    first = day_of(at).replace(day=1)
    return _instant(first), _instant((first + timedelta(days=32)).replace(day=1))


def day_of(at: int) -> datetime:
    """Midnight UTC of the day that an instant lies in."""
    return _EPOCH + timedelta(days=at // _DAY)


def _even(at: int, length: int, origin: int) -> tuple[int, int]:
    start = at - (at - origin) % length
    return start, start + length


def _instant(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
