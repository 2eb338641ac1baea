"""The ledger's writer refuses rather than forgets."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlmodel import SQLModel, create_engine

from appliance.errors import ApplianceError
from appliance.ledger import tables
from appliance.ledger.entry import Opening, Outcome, Settlement
from appliance.ledger.writer import LedgerWriter

OPENING = Opening(1, "req-1", "anna", "sales", "key-1", "chat", "api", None, "auto", "smol", "", "short", True, 1_000)

SETTLEMENT = Settlement(1, 0, 1, True, 0, 1, 2, Outcome.COMPLETE, None, 0, 0, None, 2_000, 2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with the ledger's table."""
    path = tmp_path / "appliance.db"
    engine = create_engine(f"sqlite:///{path}")
    SQLModel.metadata.create_all(engine, [SQLModel.metadata.tables[tables.Call.__tablename__]])
    engine.dispose()
    return path


def test_a_ledger_that_takes_no_rows_is_a_clear_refusal_until_it_does_again(file: Path) -> None:
    async def scenario() -> None:
        writer = LedgerWriter(file)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("ALTER TABLE call RENAME TO away")
            with pytest.raises(ApplianceError) as refused:
                await writer.open(OPENING)
            assert (refused.value.code, refused.value.kind.http) == ("ledger-unavailable", 503)
            with pytest.raises(ApplianceError):
                writer.check()
            with pytest.raises(ApplianceError):
                await writer.settle(SETTLEMENT)
            assert writer.owed == 1
            connection.execute("ALTER TABLE away RENAME TO call")
        await writer.open(OPENING)
        assert writer.owed == 0
        writer.close()

    asyncio.run(scenario())
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT id, outcome FROM call").fetchall() == [(1, "open")]
