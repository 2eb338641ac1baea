"""The database file: its pragmas, and its schema brought up to date.

The request path opens the file with the driver alone. When the schema is not at `HEAD`,
a child process migrates it, so that a process which serves people never carries Alembic.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from appliance.errors import ApplianceError

# The newest revision in migrations/versions. A test holds the two together.
HEAD = "0007"

# WAL: readers never wait. FULL: a committed row survives a power cut.
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA busy_timeout = 5000",
)


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode with our pragmas. Raises database-broken or state-read-only."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
        for pragma in _PRAGMAS:
            connection.execute(pragma)
    except sqlite3.Error as error:
        raise _explain(path, error) from error
    return connection


def read_only(path: Path) -> sqlite3.Connection:
    """A connection to another program's database, which nothing is written to. Raises sqlite3.Error."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)


def ensure(path: Path) -> None:
    """Create or upgrade the database. Raises database-newer, database-broken or state-read-only."""
    if _revision(path) == HEAD:
        return
    # -P keeps whatever folder we happen to be in off the import path.
    command = [sys.executable, "-P", "-m", "appliance.migrations", str(path)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode == 0:
        return
    last = [line for line in child.stderr.splitlines() if "Error" in line][-1:] or ["no message"]
    if "Can't locate revision" in child.stderr:
        raise ApplianceError(
            "database-newer",
            f"{path} was written by a newer version of the appliance.",
            "Install that version again, or restore the backup that was made before it.",
        )
    raise ApplianceError(
        "database-broken",
        f"{path} could not be brought up to date: {last[0]}.",
        "Restore the last backup, then try again.",
    )


def revision_of(path: Path) -> str | None:
    """The schema revision of a database that is not to be touched; None where it has none. Raises sqlite3.Error."""
    connection = read_only(path)
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    finally:
        connection.close()
    return str(found[0]) if found else None


def is_current(path: Path) -> bool:
    """Whether a database is there and has this version's schema; changes nothing. Raises database-broken."""
    return _revision(path) == HEAD


def _revision(path: Path) -> str | None:
    """The schema revision of a database file; None when it is new or has no schema yet."""
    if not path.exists():
        return None
    connection = connect(path)
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise _explain(path, error) from error
    except sqlite3.DatabaseError as error:
        raise _explain(path, error) from error
    finally:
        connection.close()
    return str(found[0]) if found else None


def _explain(path: Path, error: sqlite3.Error) -> ApplianceError:
    if "readonly" in str(error) or "unable to open" in str(error):
        return ApplianceError(
            "state-read-only",
            f"The database {path} cannot be written: {error}.",
            "Give this user the right to write there, or remount it writable.",
        )
    return ApplianceError(
        "database-broken", f"The database {path} cannot be read: {error}.", "Restore the last backup, then try again."
    )
