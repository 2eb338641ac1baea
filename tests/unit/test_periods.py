"""Calendar windows in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.periods import PERIODS, bounds


def us(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    """An instant in UTC."""
    return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("period", "at", "start", "end"),
    [
        ("minute", us(2026, 3, 1, 12, 30, 59) + 999_999, us(2026, 3, 1, 12, 30), us(2026, 3, 1, 12, 31)),
        ("minute", us(2026, 3, 1, 12, 31), us(2026, 3, 1, 12, 31), us(2026, 3, 1, 12, 32)),
        ("day", us(2026, 12, 31, 23, 59, 59), us(2026, 12, 31), us(2027, 1, 1)),
        # The last week of 2026 reaches into the next year.
        ("week", us(2027, 1, 3, 23, 59, 59), us(2026, 12, 28), us(2027, 1, 4)),
        ("week", us(2027, 1, 4), us(2027, 1, 4), us(2027, 1, 11)),
        ("month", us(2028, 2, 29, 12), us(2028, 2, 1), us(2028, 3, 1)),
        ("month", us(2026, 12, 31, 23, 59, 59), us(2026, 12, 1), us(2027, 1, 1)),
        ("month", us(2027, 1, 1), us(2027, 1, 1), us(2027, 2, 1)),
    ],
)
def test_a_window_begins_and_ends_where_the_calendar_says(period: str, at: int, start: int, end: int) -> None:
    assert bounds(period, at) == (start, end)


@given(st.sampled_from(PERIODS), st.integers(0, us(2200, 1, 1)))
def test_windows_follow_each_other_without_a_gap(period: str, at: int) -> None:
    start, end = bounds(period, at)
    assert start <= at < end
    assert bounds(period, start) == bounds(period, end - 1) == (start, end)
    assert bounds(period, end)[0] == end
    first = datetime.fromtimestamp(start // 1_000_000, UTC)
    assert (first.second, start % 1_000_000) == (0, 0)
    assert period != "week" or first.isoweekday() == 1
    assert period != "month" or first.day == 1


def test_there_are_no_other_periods() -> None:
    with pytest.raises(ValueError, match="'year' is no period"):
        bounds("year", 0)
