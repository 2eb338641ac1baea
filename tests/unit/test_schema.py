"""The database file as a process finds it: new, current, newer, broken."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.store.schema import HEAD, connect, ensure


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the database is to be."""
    return tmp_path / "appliance.db"


def stamped(file: Path, revision: str) -> None:
    """A database that says it is at a revision."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))


def refused(file: Path) -> str:
    """The code of the refusal."""
    with pytest.raises(ApplianceError) as caught:
        ensure(file)
    assert str(file) in caught.value.sentence
    return caught.value.code


def test_a_new_file_gets_the_newest_schema_and_survives_a_power_cut(file: Path) -> None:
    ensure(file)
    with closing(connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)
        assert connection.execute("SELECT count(*) FROM call").fetchone() == (0,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        # 2 is FULL.
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_current_file_is_left_alone(file: Path) -> None:
    stamped(file, HEAD)
    ensure(file)
    with closing(sqlite3.connect(file)) as connection:
        assert [row[0] for row in connection.execute("SELECT name FROM sqlite_master")] == ["alembic_version"]


def test_a_file_of_a_newer_version_is_refused_and_not_touched(file: Path) -> None:
    stamped(file, "9999")
    assert refused(file) == "database-newer"
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_a_file_that_is_no_database_is_refused(file: Path) -> None:
    file.write_bytes(b"This is no database. " * 100)
    assert refused(file) == "database-broken"


def test_a_folder_in_the_files_place_is_refused(file: Path) -> None:
    file.mkdir()
    assert refused(file) == "state-read-only"
