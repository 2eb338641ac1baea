"""Refused sign-ins on the audit log: the first at once, the rest counted, and never more than so many."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from appliance.audit.reading import newest
from appliance.audit.writer import MOST_KINDS
from appliance.config.paths import Home, find_home
from appliance.errors import ApplianceError
from appliance.identity.refusals import NOBODY, Refusals


@pytest.fixture
def home(empty_database: bytes, tmp_path: Path) -> Home:
    """A home with a database."""
    found = find_home(tmp_path / "appliance.toml", tmp_path / "var")
    found.prepare()
    found.database.write_bytes(empty_database)
    return found


def told(home: Home) -> list[tuple[Any, ...]]:
    """Who was refused, as whom, why, and how often."""
    return [(one["actor"], one["target"], one["facts"]["code"], one["facts"].get("count")) for one in newest(home, 999)]


def test_the_first_of_a_kind_is_on_record_at_once_and_repeats_when_the_minute_is_over(home: Home) -> None:
    refusals = Refusals(home)
    refusals.put("192.0.2.1", "sign-in-refused", "anna", 0.0)
    assert told(home) == [("192.0.2.1", "anna", "sign-in-refused", None)]
    for second in range(1, 50):
        refusals.put("192.0.2.1", "sign-in-refused", "ben" if second == 7 else "", float(second))
    refusals.put("192.0.2.1", "throttled", "anna", 50.0)
    refusals.put("192.0.2.2", "sign-in-refused", "", 51.0)
    refusals.settle(59.0)
    assert len(told(home)) == 3
    refusals.settle(60.0)
    assert told(home)[3:] == [("192.0.2.1", f"{NOBODY}, ben", "sign-in-refused", 49)]
    refusals.put("192.0.2.1", "sign-in-refused", "", 61.0)
    assert told(home)[4:] == [("192.0.2.1", NOBODY, "sign-in-refused", None)]
    refusals.put("192.0.2.1", "sign-in-refused", "", 62.0)
    refusals.settle(None)
    assert told(home)[5:] == [("192.0.2.1", NOBODY, "sign-in-refused", 1)]
    refusals.settle(None)
    assert len(told(home)) == 6


def test_whoever_comes_from_many_addresses_cannot_fill_the_disk(home: Home) -> None:
    refusals = Refusals(home)
    for number in range(MOST_KINDS + 50):
        refusals.put(f"192.0.2.{number}", "sign-in-refused", f"p{number}", 0.0)
    refusals.settle(60.0)
    rows = told(home)
    assert len(rows) == MOST_KINDS + 2
    assert (rows[-1][0], rows[-1][3]) == ("many", 49)
    assert len(rows[-1][1].split()) == 8


def test_a_refusal_that_cannot_be_put_on_record_is_not_taken_for_one(home: Home) -> None:
    refusals = Refusals(home)
    (home.state / "audit.anchor").mkdir()
    with pytest.raises((ApplianceError, OSError)):
        refusals.put("192.0.2.1", "sign-in-refused", "", 0.0)
    (home.state / "audit.anchor").rmdir()
    for second in (1.0, 2.0):
        refusals.put("192.0.2.1", "sign-in-refused", "", second)
    assert len(told(home)) == 1
    (home.state / "audit.anchor").rename(home.state / "aside")
    (home.state / "audit.anchor").mkdir()
    for second in (61.0, 61.2):
        with pytest.raises((ApplianceError, OSError)) if second == 61.0 else nullcontext():
            refusals.settle(second)
    (home.state / "audit.anchor").rmdir()
    (home.state / "aside").rename(home.state / "audit.anchor")
    refusals.settle(71.5)
    assert told(home)[1:] == [("192.0.2.1", NOBODY, "sign-in-refused", 1)]
