"""Tables, migrations and the SQL written by hand agree."""

from __future__ import annotations

import sqlite3
import tomllib
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Table, create_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from appliance.accounts import federation_tables, people_tables, sign_on_tables
from appliance.accounts import tables as accounts_tables
from appliance.accounts.api_keys import FIND_SQL
from appliance.accounts.books import BUDGETS_SQL
from appliance.accounts.resolve import SUSPENDED_SQL
from appliance.audit import tables as audit_tables
from appliance.audit.chain import Row
from appliance.audit.record import INSERT_SQL, SINCE_SQL
from appliance.config.version import VERSION
from appliance.ledger import tables as ledger_tables
from appliance.ledger.entry import OPEN_SQL, SETTLE_SQL, Opening, Settlement
from appliance.ledger.sums import COLUMNS, days_sql, rows_sql
from appliance.migrations.__main__ import configuration
from appliance.proof import tables as proof_tables
from appliance.store.schema import HEAD
from tests.support.box import ROOT

CALL: Table = SQLModel.metadata.tables[ledger_tables.Call.__tablename__]
assert proof_tables
assert federation_tables and people_tables and sign_on_tables
API_KEY: Table = SQLModel.metadata.tables[accounts_tables.ApiKey.__tablename__]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database file at the newest schema."""
    file = tmp_path / "100% new.db"
    command.upgrade(configuration(file), "head")
    return file


def schema(file: Path) -> list[tuple[str, ...]]:
    """Every table and index, as the database keeps it."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name").fetchall()


def steps(file: Path) -> list[str]:
    """The revisions from the oldest to the newest."""
    scripts = ScriptDirectory.from_config(configuration(file))
    return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def test_migrations_are_one_ordered_list_that_ends_at_head(tmp_path: Path) -> None:
    found = steps(tmp_path / "a.db")
    assert found == [f"{number:04}" for number in range(1, len(found) + 1)]
    assert found[-1] == HEAD


def test_migrating_gives_the_tables_that_the_code_works_with(database: Path) -> None:
    engine = create_engine(f"sqlite:///{database}", poolclass=NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, SQLModel.metadata) == []


def test_every_step_can_be_taken_back_and_again(database: Path) -> None:
    newest, config = schema(database), configuration(database)
    for _ in steps(database):
        before = schema(database)
        command.downgrade(config, "-1")
        assert schema(database) != before
    assert {name for _, name, _ in schema(database)} <= {"alembic_version", "sqlite_autoindex_alembic_version_1"}
    command.upgrade(config, "head")
    assert schema(database) == newest


def test_what_an_older_release_wrote_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    config = configuration(file)
    command.upgrade(config, "0002")
    call = (7, "req-1", "anna", "key-1", "chat", "smol", 1, 11, 3, 5, 1, 0, 20, 90, "complete", None, 1_000, 2_000)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO api_key VALUES ('key-1', 'anna', 'abc', 5, NULL)")
        connection.execute(f"INSERT INTO call VALUES ({', '.join('?' * len(call))})", call)
    for there, back in (("head", "0002"), ("head", "0002")):
        command.upgrade(config, there)
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("SELECT id, owner, digest, priority FROM api_key").fetchall() == [
                ("key-1", "anna", "abc", "api")
            ]
            assert connection.execute("SELECT principal, endpoint, completion_tokens, cost FROM call").fetchall() == [
                ("anna", "chat", 5, 0)
            ]
            assert connection.execute("SELECT * FROM usage_day").fetchall() == [
                (0, "anna", "", "key-1", "smol", "", 1, 16, 0)
            ]
        command.downgrade(config, back)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT * FROM call").fetchall() == [call]


def test_an_address_and_a_login_belong_to_one_person_and_the_address_is_free_once_they_are_removed(
    database: Path,
) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        insert = "INSERT INTO person VALUES (?, ?, 'N', ?, 'staff', '', '', NULL, '', 0, '', 5, NULL)"
        connection.execute(insert, ("per-1", "anna@example.com", "anna"))
        for row in (("per-2", "anna@example.com", "ben"), ("per-2", "ben@example.com", "anna")):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(insert, row)
        connection.execute("UPDATE person SET removed_at = 6")
        connection.execute(insert, ("per-2", "anna@example.com", "anna2"))
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(insert, ("per-3", "other@example.com", "anna"))


def test_a_migrated_file_holds_what_the_hand_written_sql_names(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        written = ((OPEN_SQL, Opening), (SETTLE_SQL, Settlement), (INSERT_SQL, Row))
        asked = ((FIND_SQL, 1), (SUSPENDED_SQL, 2), (SINCE_SQL, 1), (BUDGETS_SQL, 0))
        summed = [(sql(kind), 2) for sql in (days_sql, rows_sql) for kind in COLUMNS]
        for sql, values in (*asked, *summed, *((sql, len(fields(kind))) for sql, kind in written)):
            connection.execute(f"EXPLAIN {sql}", [None] * values)


def test_opening_and_settling_fill_every_column_of_a_call() -> None:
    opened = {field.name for field in fields(Opening)}
    settled = {field.name for field in fields(Settlement)}
    assert opened | settled == set(CALL.columns.keys())
    assert opened & settled == {"id"}


def test_an_opening_gives_every_column_that_cannot_be_empty() -> None:
    named = OPEN_SQL.partition("(")[2].partition(")")[0].replace(" ", "").split(",")
    assert len(named) == len(set(named))
    assert {column.name for column in CALL.columns if not column.nullable} <= set(named) <= set(CALL.columns.keys())


def test_a_settlement_changes_its_own_columns_and_no_others() -> None:
    changed = [
        part.split(" = ")[0].strip() for part in SETTLE_SQL.partition(" SET ")[2].partition(" WHERE ")[0].split(",")
    ]
    assert [*changed, "id"] == [field.name for field in fields(Settlement)]


def test_a_key_is_found_by_columns_that_its_table_has() -> None:
    named = FIND_SQL.removeprefix("SELECT ").partition(" FROM ")[0].split(", ")
    assert {*named, "digest"} <= set(API_KEY.columns.keys())
    assert f" FROM {API_KEY.name} " in FIND_SQL
    assert API_KEY.columns["digest"].unique


def test_an_event_of_the_audit_log_fills_every_column() -> None:
    columns = SQLModel.metadata.tables[audit_tables.AuditEvent.__tablename__].columns
    assert [field.name for field in fields(Row)] == columns.keys()


def test_the_version_is_the_projects() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
