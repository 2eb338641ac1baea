"""Put a damaged audit log aside, and begin another that says so.

Nothing is thrown away: all rows go into a file, whose hash is the first thing on the new log. The old key
and anchor are kept beside it.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from appliance.audit import reading
from appliance.audit.actions import Action, Fact
from appliance.audit.chain import Fault, Link
from appliance.audit.record import append, event, since, unavailable
from appliance.audit.vault import Vault
from appliance.config.paths import Home, account
from appliance.errors import ApplianceError
from appliance.store import schema
from appliance.store.files import replacing

_LAST_SQL = "SELECT coalesce(max(seq), 0) FROM audit_event"
_BEFORE_ANY = -(2**63)


@dataclass(frozen=True, slots=True)
class Aside:
    """A log that was put aside: its fault, its file and the hash of that, and how many events are in it."""

    fault: Fault
    file: Path
    sha256: str
    events: int


def damaged(home: Home) -> Fault:
    """What is wrong with the log. Raises wrong-use when nothing is."""
    fault = reading.verify(home).fault
    if fault is None:
        raise ApplianceError(
            "wrong-use", "The audit log is whole: there is nothing to put aside.", "See `appliance audit verify`."
        )
    return fault


def restart(home: Home, fault: Fault) -> Aside:
    """Put the log aside and begin another, whose numbers go on from the old one's. Safe to run again when cut off."""
    home.prepare()
    schema.ensure(home.database)
    vault = Vault(home)
    with closing(schema.connect(home.database)) as connection:
        connection.text_factory = lambda found: found.decode("utf-8", "surrogateescape")
        try:
            connection.execute("BEGIN IMMEDIATE")
            last = max(connection.execute(_LAST_SQL).fetchone()[0], vault.furthest())
            aside = _put_aside(home, connection, fault, last)
            # With its key whoever wants to can still say which of the old events are true.
            vault.keep(aside.file)
            vault.begin(Link(last, "0" * 64))
            connection.execute("DELETE FROM audit_event")
            facts: dict[str, Fact] = {
                "fault": str(fault.trouble),
                "at_seq": fault.seq,
                "events": aside.events,
                "sha256": aside.sha256,
            }
            act = event(Action.AUDIT_RESTARTED, f"os:{account()}", aside.file.name, "", facts)
            key, anchor = append(connection, vault, [act])
            staged = vault.stage(key, anchor)
            connection.execute("COMMIT")
            vault.put(staged, anchor)
        except (OSError, sqlite3.Error) as error:
            raise unavailable(error) from error
    return aside


def _put_aside(home: Home, connection: sqlite3.Connection, fault: Fault, last: int) -> Aside:
    """All rows as lines of JSON, in a file that no later restart writes over."""
    number = 1
    while (file := home.state / f"audit-until-{last}-{number}.jsonl").exists():
        number += 1
    digest, events = hashlib.sha256(), 0
    with replacing(file, 0o600) as opened:
        for row in since(connection, _BEFORE_ANY):
            line = json.dumps(reading.show(row), default=repr).encode() + b"\n"
            opened.write(line)
            digest.update(line)
            events += 1
    return Aside(fault, file, digest.hexdigest(), events)
