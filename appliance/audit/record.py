"""Put events into the audit log's table, by the driver: commands and the gateway do it alike.

A test holds the column names against `audit.tables`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from typing import Any

from appliance.audit.actions import Action, Fact, facts_text, plain
from appliance.audit.chain import Anchor, Event, Fault, Link, Row, Trouble, chained, check
from appliance.audit.vault import Vault, broken
from appliance.errors import ApplianceError
from appliance.units import now_us

_COLUMNS = ", ".join(field.name for field in fields(Row))
INSERT_SQL = f"INSERT INTO audit_event ({_COLUMNS}) VALUES ({', '.join('?' * len(fields(Row)))})"
SINCE_SQL = f"SELECT {_COLUMNS} FROM audit_event WHERE seq >= ? ORDER BY seq"
_ANY_SQL = "SELECT EXISTS (SELECT 1 FROM audit_event)"
_values: Any = attrgetter(*(field.name for field in fields(Row)))


def event(action: Action, actor: str, target: str, request_id: str, facts: dict[str, Fact]) -> Event:
    """An event of this moment. Raises ValueError for facts that its action does not have."""
    named = facts_text(action, facts)
    return Event(now_us(), plain(actor), str(action), plain(target), plain(request_id), named)


def since(connection: sqlite3.Connection, seq: int) -> Iterator[Row]:
    """The rows from a sequence number on."""
    return (Row(*found) for found in connection.execute(SINCE_SQL, (seq,)))


def append(connection: sqlite3.Connection, vault: Vault, events: Sequence[Event]) -> tuple[bytes, Anchor]:
    """Chain events to the log, inside the caller's BEGIN IMMEDIATE; the key, and the anchor as it must be after it.

    Makes the key at the first use. Raises audit-broken when the end of the log is not what it must be: what
    was cut off would be covered up by going on.
    """
    found = vault.read()
    if found is None:
        if connection.execute(_ANY_SQL).fetchone()[0]:
            raise broken(Fault(Trouble.KEY_MISSING, 0, 0))
        found = vault.begin()
    if isinstance(found, Fault):
        raise broken(found)
    key, anchor = found
    last = _end(connection, key, anchor)
    rows = []
    for one in events:
        rows.append(chained(key, last, one))
        last = rows[-1].link
    connection.executemany(INSERT_SQL, map(_values, rows))
    return key, replace(anchor, last=last)


def _end(connection: sqlite3.Connection, key: bytes, anchor: Anchor) -> Link:
    """The newest event's place. It may be after the anchor, where a process ended between commit and anchor."""
    rows = list(since(connection, anchor.last.seq))
    if anchor.last.seq > anchor.begin.seq:
        if not rows or rows[0].seq != anchor.last.seq:
            raise broken(Fault(Trouble.CUT, anchor.last.seq, anchor.last.seq))
        if rows[0].mac != anchor.last.mac:
            raise broken(Fault(Trouble.REWRITTEN, anchor.last.seq, anchor.last.seq))
    newer = [row for row in rows if row.seq > anchor.last.seq]
    checked = check(key, Anchor(anchor.last, anchor.last), newer)
    if checked.fault is not None:
        raise broken(checked.fault)
    return checked.last


def unavailable(error: BaseException) -> ApplianceError:
    """Why an event could not be put on record, for whoever waits for the act."""
    why = error.sentence if isinstance(error, ApplianceError) else f"{error}."
    return ApplianceError(
        "audit-unavailable",
        f"This could not be put on record, so it was not done: {why}",
        "Free some room on the disk, or see `appliance audit verify`.",
        retry_after_s=30,
    )
