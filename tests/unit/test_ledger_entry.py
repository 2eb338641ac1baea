"""The ledger's values and SQL, on a real database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.schema import CreateTable
from sqlmodel import SQLModel

from appliance.ledger import tables
from appliance.ledger.entry import (
    LAST_ID_SQL,
    OPEN_SQL,
    SETTLE_SQL,
    SWEEP_SQL,
    Opening,
    Outcome,
    Settlement,
    open_row,
    settle_row,
)

OPENING = Opening(7, "req-1", "anna", "sales", "key-1", "chat", "api", None, "auto", "smol", "", "short", True, 1_000)
SETTLEMENT = Settlement(11, 3, 5, True, 0, 20, 90, Outcome.COMPLETE, None, 30, 40, None, 2_000, id=7)


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    """A database with the ledger's table."""
    table = SQLModel.metadata.tables[tables.Call.__tablename__]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute(str(CreateTable(table).compile(create_engine("sqlite://"))))
        yield connection


def found(database: sqlite3.Connection) -> dict[str, Any]:
    """The only row."""
    return dict(database.execute("SELECT * FROM call").fetchone())


def test_an_opening_puts_every_value_into_its_own_column(database: sqlite3.Connection) -> None:
    database.execute(OPEN_SQL, open_row(OPENING))
    stored = found(database)
    assert {field.name: stored[field.name] for field in fields(Opening)} == {
        field.name: getattr(OPENING, field.name) for field in fields(Opening)
    }
    assert (stored["outcome"], stored["settled_at"], stored["completion_tokens"]) == (Outcome.OPEN, None, 0)


def test_a_settlement_puts_every_value_into_its_own_column(database: sqlite3.Connection) -> None:
    database.execute(OPEN_SQL, open_row(OPENING))
    database.execute(SETTLE_SQL, settle_row(SETTLEMENT))
    stored = found(database)
    for field in fields(Settlement):
        assert stored[field.name] == getattr(SETTLEMENT, field.name), field.name
    assert (stored["principal"], stored["started_at"]) == ("anna", 1_000)


def test_a_row_is_settled_once(database: sqlite3.Connection) -> None:
    database.execute(OPEN_SQL, open_row(OPENING))
    database.execute(SETTLE_SQL, settle_row(SETTLEMENT))
    assert database.execute(SETTLE_SQL, settle_row(replace(SETTLEMENT, completion_tokens=99))).rowcount == 0
    assert database.execute(SWEEP_SQL, (3_000,)).rowcount == 0
    assert found(database)["completion_tokens"] == 5


def test_what_was_left_open_is_swept_as_interrupted_and_not_exact(database: sqlite3.Connection) -> None:
    database.execute(OPEN_SQL, open_row(OPENING))
    assert database.execute(SWEEP_SQL, (3_000,)).rowcount == 1
    stored = found(database)
    assert (stored["outcome"], stored["exact"], stored["settled_at"]) == (Outcome.INTERRUPTED, 0, 3_000)


def test_ids_go_on_after_the_last_one(database: sqlite3.Connection) -> None:
    assert database.execute(LAST_ID_SQL).fetchone()[0] == 0
    database.execute(OPEN_SQL, open_row(OPENING))
    assert database.execute(LAST_ID_SQL).fetchone()[0] == 7
