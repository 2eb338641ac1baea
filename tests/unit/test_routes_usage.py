"""Calls by route, from the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.ledger.tables import Call
from appliance.ledger.usage import routes
from appliance.store import schema
from appliance.store.sessions import session
from tests.support.box import Box


def call(
    number: int, asked: str, model: str, route: str | None, first_ms: int | None = 100, total_ms: int = 1100
) -> Call:
    """A call of 10 prompt tokens and 50 of answer."""
    return Call(
        request_id=str(number), principal="anna", key_id="k", model_asked=asked, model=model, route=route,
        streamed=False, prompt_tokens=10, completion_tokens=50 if first_ms is not None else 0,
        first_token_ms=first_ms, total_ms=total_ms, outcome="failed" if first_ms is None else "complete",
        started_at=number,
    )  # fmt: skip


CALLS = (
    ("auto", "tiny", "a small task", 100, 600),
    ("auto", "tiny", "a small task", 300, 800),
    ("auto", "big", "code", 100, 1100),
    ("auto", "tiny", "a small task", None, 20),
    ("chat", "big", None, None, 20),
)


@pytest.fixture
def filled(tmp_path: Path) -> Box:
    """A box with a ledger of a few calls."""
    box = Box(tmp_path)
    box.state.mkdir()
    schema.ensure(box.state / "appliance.db")
    with session(box.state / "appliance.db") as opened:
        opened.add_all([call(number, *one) for number, one in enumerate(CALLS, 1)])
        opened.commit()
    return box


def test_routes_are_counted_with_tokens_and_speed(filled: Box) -> None:
    with session(filled.state / "appliance.db") as opened:
        found = routes(opened)
        later = routes(opened, since_us=5)
    assert [(row["model_asked"], row["model"], row["route"], row["calls"]) for row in found] == [
        ("auto", "tiny", "a small task", 3),
        ("auto", "big", "code", 1),
        ("chat", "big", "", 1),
    ]
    assert found[0]["not_complete"] == 1
    assert (found[0]["prompt_tokens"], found[0]["completion_tokens"]) == (30, 100)
    assert [(row["first_token_ms"], row["tokens_per_s"]) for row in found] == [(200, 100.0), (100, 50.0), (None, None)]
    assert [row["calls"] for row in later] == [1]


@pytest.mark.slow
def test_the_command_shows_them_and_refuses_two_lists_at_once(filled: Box) -> None:
    assert filled.document("usage", "--routes")[0]["route"] == "a small task"
    shown = filled.run("usage", "--routes").stdout
    assert shown.splitlines()[0].split()[:2] == ["model", "asked"]
    shown = filled.run("usage", "--tasks").stdout
    assert shown.splitlines()[0].split()[:3] == ["principal", "priority", "task"]
    for other in ("--rows", "--tasks"):
        assert "wrong-use" in filled.run("usage", "--routes", other, code=2).stderr
