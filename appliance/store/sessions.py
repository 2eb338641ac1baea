"""ORM sessions, for the commands; the request path does without."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, event
from sqlalchemy.pool import NullPool
from sqlmodel import Session, create_engine

from appliance.store.schema import connect, ensure


@contextmanager
def session(path: Path) -> Iterator[Session]:
    """A session on an up-to-date database, committed at the end of the block."""
    ensure(path)

    def opened() -> sqlite3.Connection:
        return connect(path)

    engine = create_engine("sqlite://", creator=opened, poolclass=NullPool)
    event.listen(engine, "begin", _begin)
    with Session(engine) as opened_session:
        yield opened_session
        opened_session.commit()


def _begin(connection: Connection) -> None:
    """Begin a transaction: the driver is in autocommit mode and would not."""
    connection.exec_driver_sql("BEGIN")
