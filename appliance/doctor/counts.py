"""How much there is of everything, for support: numbers beside names of our own, and nothing else."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from appliance.audit.actions import Action
from appliance.config.paths import Home
from appliance.doctor.situation import CURRENT, Situation
from appliance.errors import KINDS
from appliance.ledger.entry import Outcome
from appliance.store import schema

# A test holds these against the schema.
TABLES: Final = (
    "api_key", "audit_event", "authorization_code", "budget", "call", "call_day", "client", "device_grant",
    "foreign_account", "known_device", "link", "logout_notice", "membership", "passkey", "person", "person_group",
    "proof", "recovery_code", "refresh_token", "removed_address", "sign_on", "suspension", "token_family", "tuning",
    "usage_day",
)  # fmt: skip
FOLDERS: Final = ("appliance.db", "backup", "chat", "files", "lan", "logs", "models", "run", "secrets")
_DAYS: Final = 7
_DAY_US: Final = 86_400_000_000
_CALLS: Final = (
    "SELECT outcome, coalesce(error, ''), count(*), sum(prompt_tokens + completion_tokens) FROM call"
    " WHERE started_at >= ? GROUP BY 1, 2"
)
_ACTS: Final = "SELECT action, count(*) FROM audit_event GROUP BY 1"


def counts(situation: Situation) -> dict[str, Any]:
    """Bytes and files of the state, rows of the tables, calls of a week by how they ended, acts on record."""
    found: dict[str, Any] = {"state": {name: _size(situation.home, name) for name in FOLDERS}}
    if situation.database == CURRENT:
        try:
            with closing(schema.read_only(situation.home.database)) as connection:
                found |= _of_database(connection, situation.now - _DAYS * _DAY_US)
        except sqlite3.Error:
            # It is damaged, which a finding says.
            found["database"] = "unreadable"
    return found


def _of_database(connection: sqlite3.Connection, since: int) -> dict[str, Any]:
    rows = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in TABLES}
    calls: dict[str, dict[str, int]] = {}
    for outcome, error, count, tokens in connection.execute(_CALLS, (since,)):
        ended = outcome if outcome in Outcome.__members__.values() else "other"
        why = f" {error if error in KINDS else 'other'}" if error else ""
        before = calls.get(f"{ended}{why}", {"calls": 0, "tokens": 0})
        calls[f"{ended}{why}"] = {"calls": before["calls"] + count, "tokens": before["tokens"] + (tokens or 0)}
    acts: dict[str, int] = {}
    for action, count in connection.execute(_ACTS):
        name = action if action in Action.__members__.values() else "other"
        acts[name] = acts.get(name, 0) + count
    return {"rows": rows, "calls_in_7_days": calls, "acts": acts}


def _size(home: Home, name: str) -> dict[str, int]:
    """Bytes and number of the files in a folder of the state, or of one file."""
    path = home.state / name
    files = [path] if path.is_file() else [Path(at) / one for at, _, every in os.walk(path) for one in every]
    sizes = [_bytes(file) for file in files]
    return {"bytes": sum(sizes), "files": len(sizes)}


def _bytes(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0
