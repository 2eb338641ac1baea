"""When a process is started again, and when it counts as failed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.supervise.backoff import FAILURES_UNTIL_FAILED, delay_s, failures_after


def test_the_first_try_comes_soon_and_each_wait_is_twice_the_last() -> None:
    assert [delay_s(failures) for failures in range(1, 6)] == [0.2, 0.4, 0.8, 1.6, 3.2]


def test_a_process_counts_as_failed_within_seconds_not_minutes() -> None:
    assert sum(delay_s(failures) for failures in range(1, FAILURES_UNTIL_FAILED)) < 5


@given(st.integers(min_value=1, max_value=10**9))
def test_however_often_it_failed_it_is_tried_again_within_half_a_minute(failures: int) -> None:
    assert 0.2 <= delay_s(failures) <= 30.0
    assert delay_s(failures) <= delay_s(failures + 1)


def test_a_process_that_stayed_up_for_a_minute_starts_its_count_anew() -> None:
    assert failures_after(4, None) == 5
    assert failures_after(4, 0.0) == 5
    assert failures_after(4, 59.9) == 5
    assert failures_after(4, 60.0) == 1
    assert failures_after(0, 3600.0) == 1
