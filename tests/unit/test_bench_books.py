"""What the load harness says of counted books, and which peers it can have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import environment
from bench.book_checks import (
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
from bench.peers import MAKERS, USUAL
from bench.tools import ROOT

RIGHT = Kills(
    kills=20,
    complete=4000,
    interrupted=90,
    without_row=0,
    charged_twice=0,
    charged_wrong=0,
    open=0,
    budgets_off=0,
    integrity="ok",
)


def test_right_books_keep_every_limit() -> None:
    checks = check_hang_ups(HangUps(20, 20, 40.0, 20, 0), Limits()) + check_kills(RIGHT)
    checks += check_slow_readers(SlowReaders(64, 700.0, 750.0, 70.0, 0), Limits()) + check_fifties(100, 100, 100)
    assert all(one.kept for one in checks)


@pytest.mark.parametrize(
    "wrong",
    [
        {"complete": 19},
        {"interrupted": 0},
        {"without_row": 1},
        {"charged_twice": 1},
        {"charged_wrong": 1},
        {"open": 1},
        {"budgets_off": 84},
        {"budgets_off": -1},
        {"integrity": "row 3 missing from index"},
    ],
)
def test_one_wrong_count_after_the_kills_is_broken(wrong: dict[str, int]) -> None:
    assert sum(not one.kept for one in check_kills(replace(RIGHT, **wrong))) == 1  # type: ignore[arg-type]


def test_rows_are_held_against_the_answers_that_came() -> None:
    rows = [
        ("a", "complete", 20, 64, 1),
        ("b", "complete", 20, 64, 0),
        ("c", "interrupted", 0, 3, 0),
        ("d", "complete", 20, 64, 1),
        ("d", "complete", 20, 64, 1),
    ]
    found = weigh(rows, ["a", "a", "b", "c", "lost"], 3, 1, 7, "ok")
    assert found == Kills(
        kills=3,
        complete=5,
        interrupted=1,
        without_row=3,
        charged_twice=1,
        charged_wrong=1,
        open=1,
        budgets_off=7,
        integrity="ok",
    ), "one answer is lost, one was only interrupted, one has to share a row"


def test_one_stream_cancelled_late_or_not_settled_is_broken() -> None:
    assert [one.kept for one in check_hang_ups(HangUps(20, 19, 201.0, 20, 0), Limits())] == [False, True, True]
    assert [one.kept for one in check_hang_ups(HangUps(20, 20, 40.0, 19, 0), Limits())] == [True, False, True]
    assert [one.kept for one in check_hang_ups(HangUps(20, 20, 40.0, 20, 64), Limits())] == [True, True, False]


def test_one_run_of_fifty_in_which_not_just_five_passed_is_broken() -> None:
    assert [one.kept for one in check_fifties(100, 99, 100)] == [False, True]
    assert [one.kept for one in check_fifties(100, 100, 99)] == [True, False]


def test_slow_readers_may_cost_the_others_a_little_and_the_machine_so_much_each() -> None:
    limits = Limits(p50_beside_slow=1.25, growth_mib_per_slow_reader=0.125)
    assert [one.kept for one in check_slow_readers(SlowReaders(16, 700.0, 876.0, 2.1, 1), limits)] == [False] * 3
    assert [one.kept for one in check_slow_readers(SlowReaders(16, 700.0, 875.0, 2.0, 0), limits)] == [True] * 3


def test_the_usual_peers_can_be_made() -> None:
    assert set(USUAL) < set(MAKERS)


def test_the_peers_are_pinned_and_stay_out_of_the_appliance_and_its_tests() -> None:
    assert environment.version("litellm").count(".") == 2
    pinned = environment.LOCK.read_text()
    requirements = pinned.split("\n")
    assert "--hash=sha256:" in pinned
    assert not [line for line in requirements if "==" in line and not line.endswith("\\")], "every one has its hashes"
    for other in ("runtime.txt", "test.txt", "installer.txt"):
        text = Path(ROOT / "requirements" / other).read_text()
        assert not [name for name in ("litellm", "fastapi") if f"\n{name}==" in f"\n{text}"], other
