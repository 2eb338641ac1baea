"""Read the audit log: its events, and whether they are what was put on record. Nothing is changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from appliance.audit.actions import sentence
from appliance.audit.chain import START, Anchor, Checked, Fault, Link, Row, Trouble, check, head_proof
from appliance.audit.record import since
from appliance.audit.vault import Vault
from appliance.config.paths import Home
from appliance.store import schema

_TAIL_SQL = "SELECT min(seq) FROM (SELECT seq FROM audit_event ORDER BY seq DESC LIMIT ?)"
NAMES = ("seq", "at", "actor", "action", "target", "request_id", "facts", "mac")


@contextmanager
def _opened(home: Home) -> Iterator[sqlite3.Connection | None]:
    """The database, for reading one state of it; None where there is none yet."""
    if not home.database.exists():
        yield None
        return
    schema.ensure(home.database)
    with closing(schema.connect(home.database)) as connection:
        # Text that is no UTF-8 was not written by us, and must not hide behind a failure to read it.
        connection.text_factory = lambda found: found.decode("utf-8", "surrogateescape")
        connection.execute("BEGIN")
        yield connection


def newest(home: Home, count: int) -> list[dict[str, Any]]:
    """The newest events, oldest of them first."""
    with _opened(home) as connection:
        if connection is None:
            return []
        first = connection.execute(_TAIL_SQL, (count,)).fetchone()[0]
        return [] if first is None else [show(row) for row in since(connection, first)]


def events(home: Home, seq: int) -> Iterator[dict[str, Any]]:
    """The events from a sequence number on, as they are, one after another."""
    with _opened(home) as connection:
        if connection is not None:
            yield from map(show, since(connection, seq))


def show(row: Row) -> dict[str, Any]:
    """An event as it is shown and exported; facts that cannot be read stay as they are."""
    try:
        facts = json.loads(row.facts)
    except (TypeError, ValueError):
        facts = row.facts
    at = _instant(row.at) if isinstance(row.at, int) and 0 <= row.at < 2**54 else row.at
    return {
        "seq": row.seq,
        "at": at,
        "actor": row.actor,
        "action": row.action,
        "target": row.target,
        "request_id": row.request_id,
        "facts": facts,
        "mac": row.mac,
    }


def _instant(us: int) -> str:
    """ISO 8601 in UTC, to the microsecond: whoever has the key can verify an exported event too."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def words(shown: dict[str, Any]) -> str:
    """A shown event as a person reads it."""
    facts = shown["facts"] if isinstance(shown["facts"], dict) else {}
    return sentence(str(shown["actor"]), str(shown["action"]), str(shown["target"]), facts)


def verify(home: Home, kept: Iterable[Link] = ()) -> Checked:
    """Walk the whole log. `kept` are places that were written down elsewhere and must be on it.

    The places that the gateway has noted in its log must be on it too.
    """
    # The anchor before the table: what is committed in between is then merely ahead of it.
    found = Vault(home).read()
    if isinstance(found, Fault):
        return Checked(0, START, 0, found)
    with _opened(home) as connection:
        rows: Iterable[Row] = since(connection, -(2**63)) if connection is not None else ()
        if found is None:
            key, anchor = b"", Anchor(START, START)
            for _ in rows:
                return Checked(0, START, 0, Fault(Trouble.KEY_MISSING, 0, 0))
        else:
            key, anchor = found
        return check(key, anchor, rows, [*_noted(home.logs / "serve.log", key), *kept])


def _noted(log: Path, key: bytes) -> Iterator[Link]:
    """The places that the gateway's log holds; a line that was not written under this key says nothing."""
    for file in (log.with_suffix(".log.old"), log):
        if not file.exists():
            continue
        with file.open("rb") as lines:
            for line in lines:
                if b'"audit-head"' in line and (link := _head(line, key)) is not None:
                    yield link


def _head(line: bytes, key: bytes) -> Link | None:
    try:
        said = json.loads(line)
        link = Link(said["seq"], said["mac"])
    except (ValueError, KeyError, TypeError):
        return None
    return link if said.get("proof") == head_proof(key, link) else None
