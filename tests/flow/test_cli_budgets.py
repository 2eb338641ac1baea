"""Budgets on the command line: set, listed with what is used, and removed only with a yes."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from appliance.units import now_us
from tests.support.box import Box

pytestmark = pytest.mark.slow

OPENED = (
    "INSERT INTO call (id, request_id, principal, team, key_id, endpoint, priority, model_asked, model, provider,"
    " streamed, prompt_tokens, cached_tokens, completion_tokens, exact, queue_ms, total_ms, outcome, cost,"
    " avoided_cost, started_at) VALUES (?, ?, ?, '', 'key-1', 'chat', 'api', 'chat', 'smol', '', 1, ?, 0, ?, 1, 0, 9,"
    " 'complete', ?, 0, ?)"
)


def use(box: Box, name: str, prompt: int, completion: int, cost: int) -> None:
    """Put a call on record."""
    with closing(sqlite3.connect(box.state / "appliance.db")) as connection, connection:
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM call").fetchone()
        connection.execute(OPENED, (last + 1, f"req-{last + 1}", name, prompt, completion, cost, now_us()))
        connection.execute("UPDATE call SET settled_at = started_at + 1 WHERE settled_at IS NULL")


def test_a_budget_is_set_changed_listed_and_removed(box: Box) -> None:
    box.configure('[money]\ncurrency = "CHF"\n')
    done = box.run("budgets", "set", "user", "anna", "--tokens", "1000", "--per", "day")
    assert "Anna's budget is 1,000 tokens a day, from the next request on." in done.stderr
    assert "No key belongs to user 'anna' yet" in done.stderr
    box.key("anna")
    assert "No key" not in box.run("budgets", "set", "user", "anna", "--tokens", "2000", "--per", "day").stderr
    box.run("budgets", "set", "user", "*", "--tokens", "500", "--per", "day")
    money = box.document("budgets", "set", "box", "--money", "12.50", "--per", "month")
    assert money == {
        "kind": "box",
        "id": "box",
        "unit": "money",
        "per": "month",
        "amount": 12_500_000,
        "currency": "CHF",
    }
    box.run("budgets", "set", "box", "--at-once", "4")
    use(box, "anna", 1000, 650, 10_000_000)
    use(box, "ben", 500, 20, 2_000_001)
    found = [
        (one["kind"], one["id"], one["name"], one["unit"], one["used"], one["left"], one["percent"], one["warning"])
        for one in box.document("budgets", "list")
    ]
    assert found == [
        ("box", "box", "box", "at_once", None, None, None, None),
        ("box", "box", "box", "money", 12_000_001, 499_999, 96, 80),
        ("user", "*", "ben", "tokens", 520, 0, 104, 100),
        ("user", "anna", "anna", "tokens", 1650, 350, 82, 80),
    ]
    text = box.run("budgets", "list").stdout
    assert "12.50 CHF a month" in text
    assert "* (ben)" in text
    assert box.run("budgets", "remove", "user", "anna", "--dry-run").stderr == (
        "Would be removed: anna's budget of 2,000 tokens a day.\n"
    )
    assert box.document("budgets", "remove", "box", code=4)["error"]["code"] == "needs-yes"
    assert len(box.document("budgets", "remove", "box", "--unit", "at-once", "--yes")) == 1
    assert len(box.document("budgets", "list")) == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("user", "anna", "--tokens", "5"), "wrong-use"),
        (("user", "anna", "--per", "day"), "wrong-use"),
        (("user", "anna", "--tokens", "5", "--requests", "5", "--per", "day"), "wrong-use"),
        (("user", "anna", "--at-once", "5", "--per", "day"), "wrong-use"),
        (("user", "--tokens", "5", "--per", "day"), "wrong-use"),
        (("box", "mine", "--tokens", "5", "--per", "day"), "wrong-use"),
        (("user", "anna", "--money", "12,50", "--per", "day"), "wrong-use"),
        (("user", "anna", "--tokens", "-5", "--per", "day"), "wrong-use"),
        (("user", "anna", "--tokens", "5", "--per", "year"), "wrong-use"),
        (("key", "key-nobody", "--tokens", "5", "--per", "day"), "key-not-found"),
    ],
)
def test_a_budget_that_makes_no_sense_is_wrong_use(box: Box, words: tuple[str, ...], code: str) -> None:
    assert box.document("budgets", "set", *words, code=2)["error"]["code"] == code


def test_a_budget_that_is_not_there_cannot_be_removed(box: Box) -> None:
    error = box.document("budgets", "remove", "user", "anna", "--yes", code=2)["error"]
    assert (error["code"], error["message"]) == ("budget-not-found", "No such budget is set for user 'anna'.")
