"""What long work says meanwhile, into a log and on a terminal."""

from __future__ import annotations

import sys

import pytest

from appliance.cli.output import Progress
from appliance.units import MIB


class Clock:
    """A clock that the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("appliance.cli.output.time.monotonic", lambda: self.now)


def test_a_log_gets_a_line_every_few_seconds_and_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    told = Progress().size("Tiny")
    for second in range(21):
        clock.now = 1000.0 + second
        told(second * MIB, 20 * MIB)
    told(20 * MIB, 20 * MIB)
    assert capsys.readouterr().err.splitlines() == [
        "Tiny: 0 bytes of 20 MiB",
        "Tiny: 5.0 MiB of 20 MiB, 1.0 MiB/s, 15 s left",
        "Tiny: 10 MiB of 20 MiB, 1.0 MiB/s, 10 s left",
        "Tiny: 15 MiB of 20 MiB, 1.0 MiB/s, 5 s left",
        "Tiny: 20 MiB of 20 MiB",
    ]


def test_what_an_earlier_run_has_fetched_is_no_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    told = Progress().size("Tiny")
    told(100 * MIB, 200 * MIB)
    clock.now += 6
    told(106 * MIB, 200 * MIB)
    assert capsys.readouterr().err.splitlines()[-1] == "Tiny: 106 MiB of 200 MiB, 1.0 MiB/s, 1 min 34 s left"


def test_a_terminal_gets_a_bar_that_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    told = Progress().size("Tiny")
    for done in (0, 100, 120, 200):
        clock.now += 1
        told(done * MIB, 200 * MIB)
    *_, third, last = capsys.readouterr().err.split("\r")
    assert third.startswith("Tiny  [##################............] 120 MiB of 200 MiB, 60 MiB/s, 1 s left")
    assert last.startswith("Tiny  [##############################] 200 MiB of 200 MiB ")
    assert last.endswith("\n")
    assert len(last) >= len(third)
