"""The databases: whether every page of them is whole, and whether what refers to something finds it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from appliance.doctor.check import Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import NEWER, OLDER, Situation
from appliance.policy.backups import DATABASES
from appliance.store import schema


def look(situation: Situation) -> Iterator[Finding]:
    """What is damaged, dangling, or of another release."""
    if situation.database == NEWER:
        yield Finding("database-newer", "The database was written by a newer release.")
    if situation.database == OLDER:
        yield Finding("database-older", "The database is still as an older release has left it.")
    for name in (*DATABASES, "chat/vector_db/chroma.sqlite3"):
        file = situation.home.state / name
        if file.exists():
            yield from _pages(file, name)
    if situation.home.database.exists():
        yield from _references(situation.home.database)


def _pages(file: Path, name: str) -> Iterator[Finding]:
    try:
        with closing(schema.read_only(file)) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        found = str(error)
        if isinstance(error, sqlite3.OperationalError) and "lock" in found:
            # Somebody writes it at length: that is no damage.
            raise
    if found != "ok":
        yield Finding("database-damaged", f"The database {file} is damaged: {found}.", name)


def _references(file: Path) -> Iterator[Finding]:
    try:
        with closing(schema.read_only(file)) as connection:
            rows = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error:
        # It cannot be read, which is told already.
        return
    for table in sorted({str(row[0]) for row in rows}):
        count = sum(row[0] == table for row in rows)
        words = f"{count} rows of the table {table} refer to something that is not there."
        yield Finding("database-references", words, table, facts={"rows": count})


CHECK = Check("database", "The databases are whole.", look, limit_s=300.0)
