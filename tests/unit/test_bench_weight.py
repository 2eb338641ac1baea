"""What the measurements of weight, sign-ins and waiting make of given figures: sums, percentiles, limits, tables."""

from __future__ import annotations

import pytest

from bench import page, sign_in, weight

WAIT = page.Wait(4.0, 3.0, 1.0, 0.25)


def test_the_sum_is_held_against_the_limit_in_megabytes_of_a_million_bytes() -> None:
    """495 MiB are 519 MB, and 496 are 520.1: what is called MB must not be MiB."""
    assert weight.check({"chat-page": 295.0, "identity": 200.0}).kept
    assert not weight.check({"chat-page": 296.0, "identity": 200.0}).kept
    assert weight.megabytes(1.0) == pytest.approx(1.048576)


def test_every_process_stands_in_the_table_the_heaviest_first() -> None:
    lines = weight.table({"serve": 31.0, "chat-page": 300.0, "supervisor": 14.0}).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:5]] == ["chat-page", "serve", "supervisor"]
    assert "| 314.6 |" in lines[2]
    assert "| at most 520 | 362 | kept |" in lines[-1]


def morning(*, slow: float = 1.0, quiet: float = 26.0, busy: float = 30.0) -> sign_in.Found:
    """Fifty sign-ins of which six took so long, and two rounds of gaps of which some were so long."""
    gaps = [[25.0] * 90 + [value] * 10 for value in (quiet, busy)]
    return sign_in.Found([0.2] * 44 + [slow] * 6, [gaps[0]] * 2, [gaps[1]] * 2)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (morning(), [True, True]),
        (morning(slow=2.5), [False, True]),
        (morning(busy=90.0), [True, False]),
        # It is what sign-ins add that counts: a machine that stutters by itself is no news of ours.
        (morning(quiet=80.0, busy=90.0), [True, True]),
    ],
)
def test_a_morning_is_held_against_both_limits(found: sign_in.Found, kept: list[bool]) -> None:
    assert [one.kept for one in sign_in.checks(found)] == kept


def test_the_figures_behind_the_verdict_are_told() -> None:
    said = sign_in.summary(morning())
    assert "50 sign-ins: p50 0.20 s, p95 1.00, the longest 1.00" in said
    assert "26.0, 26.0 alone; 30.0, 30.0 beside sign-ins" in said


def visit(seconds: float, *external: str) -> page.Round:
    """A round in which whoever is known waited so long."""
    return page.Round(WAIT, WAIT, page.Wait(seconds, 3.0, 1.0, 0.25), 470, 8.0, external)


def test_the_wait_that_counts_is_the_median_of_whoever_is_known() -> None:
    assert [one.kept for one in page.checks([visit(5.0), visit(5.5), visit(9.0)])] == [True, True]
    assert [one.kept for one in page.checks([visit(5.0), visit(6.5), visit(9.0)])] == [False, True]


def test_one_host_outside_the_box_breaks_the_limit() -> None:
    assert [one.kept for one in page.checks([visit(5.0), visit(5.0, "fonts.example.com")])] == [True, False]


def test_whose_processor_time_it_was_stands_beside_each_wait() -> None:
    said = page.table([visit(5.0)])
    assert "| the address, signed in, to a place to type in | 5.00 | 3.00 | 1.00 | 0.25 |" in said
    assert "470 requests, 8.0 MB on the way." in said
