"""ORM sessions, for the commands; the request path does without."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool, Pool, QueuePool
from sqlmodel import Session, create_engine

from appliance.errors import ApplianceError
from appliance.store import generation
from appliance.store.schema import connect, ensure


@contextmanager
def session(path: Path, *, alone: bool = False) -> Iterator[Session]:
    """A session on an up-to-date database, committed at the end of the block.

    `alone` keeps every other writer out from the beginning: what the block reads still holds when it is
    committed. The gateway waits meanwhile, so such a block does nothing slow.
    """
    ensure(path)
    try:
        with Session(_engine(path, alone=alone)) as opened_session:
            if alone:
                opened_session.connection()
            yield opened_session
            generation.change(path)
            opened_session.commit()
            generation.change(path)
    except DatabaseError as error:
        # What is the code's own mistake stays one.
        raise _explain(path, error.orig) or error from error


@contextmanager
def reading(path: Path) -> Iterator[Session]:
    """A session on a database that `schema.is_current`, for reading only: nothing of it is kept."""
    try:
        with Session(_engine(path)) as opened_session:
            yield opened_session
    except DatabaseError as error:
        raise _explain(path, error.orig) or error from error


class Sessions:
    """Sessions for a process that stays: their connections are kept. For use by several threads."""

    def __init__(self, path: Path) -> None:
        """Bring the database up to date. Raises as `schema.ensure` does."""
        ensure(path)
        self._path = path
        self._alone = _engine(path, alone=True, pool=QueuePool)
        self._shared = _engine(path, pool=QueuePool)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session as the one writer, committed at the end of the block. What is read of it stays readable."""
        try:
            with Session(self._alone, expire_on_commit=False) as opened_session:
                opened_session.connection()
                yield opened_session
                opened_session.commit()
        except DatabaseError as error:
            raise _explain(self._path, error.orig) or error from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reading only: nothing of it is kept."""
        try:
            with Session(self._shared, expire_on_commit=False) as opened_session:
                yield opened_session
        except DatabaseError as error:
            raise _explain(self._path, error.orig) or error from error

    def tell(self) -> None:
        """Tell other processes that what they know of the database may be over."""
        generation.change(self._path)

    def close(self) -> None:
        """Give the connections back."""
        self._alone.dispose()
        self._shared.dispose()


def _engine(path: Path, *, alone: bool = False, pool: type[Pool] = NullPool) -> Engine:
    def opened() -> sqlite3.Connection:
        return connect(path)

    engine = create_engine("sqlite://", creator=opened, poolclass=pool)
    event.listen(engine, "begin", _begin_alone if alone else _begin)
    return engine


def _explain(path: Path, error: BaseException | None) -> ApplianceError | None:
    """The failures of a database that a person can mend."""
    code = error.sqlite_errorcode & 0xFF if isinstance(error, sqlite3.Error) else 0
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return ApplianceError(
            "database-broken", f"The database {path} is damaged: {error}.", "Restore the last backup, then try again."
        )
    if code == sqlite3.SQLITE_FULL:
        return ApplianceError("disk-full", f"There is no room to write {path}.", "Free some room and run it again.")
    return None


def _begin(connection: Connection) -> None:
    """Begin a transaction: the driver is in autocommit mode and would not."""
    connection.exec_driver_sql("BEGIN")


def _begin_alone(connection: Connection) -> None:
    """Begin a transaction as the one writer. A plain BEGIN that has read fails once somebody else has written."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
