"""What the measurements of weight, sign-ins and waiting make of given figures: sums, percentiles, limits, tables."""

from __future__ import annotations

import os

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


def mapping(file: str, inode: int, rss: int, written: int = 0) -> str:
    """One mapping as Linux tells of it."""
    head = f"7f00-7f10 r-xp 00000000 fe:00 {inode} {file}".rstrip()
    return f"{head}\nSize: 999 kB\nRss: {rss} kB\nPss: {rss // 2} kB\nAnonymous: {written} kB\nVmFlags: rd ex\n"


def test_a_file_counts_once_and_whole_whoever_else_has_mapped_it() -> None:
    """PSS would count half of it where some other program happens to have it too."""
    own, files = weight.parts(
        mapping("/lib/a b.so", 7, 100)
        + mapping("/lib/a b.so", 7, 50, written=20)
        + mapping("[heap]", 0, 400)
        + mapping("", 0, 40)
    )
    assert (own, dict(files)) == (20 + 200 + 20, {"/lib/a b.so": 130})


def test_this_very_process_holds_something_and_two_names_for_it_share_its_files() -> None:
    once, twice = weight.held({"one": [os.getpid()]}), weight.held({"one": [os.getpid()], "two": [os.getpid()]})
    assert once["one"] > 5
    assert twice[weight.FILES] == pytest.approx(once[weight.FILES], rel=0.05)
    assert twice["two"] == pytest.approx(once["one"], rel=0.05)


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
