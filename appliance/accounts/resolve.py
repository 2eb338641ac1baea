"""Turn a credential into a `Principal`: the one place where access is granted or refused.

What is known of a key is kept until a command writes the database, so a revoked key is
refused from the next request on. Written against the driver, like the ledger's writer, and
for the same reason.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.policy.principals import Principal
from appliance.store.generation import Generation
from appliance.store.schema import connect

PREFIX = "apl-"
# Whoever writes the database without our commands is noticed after this many seconds.
_KEEP_S = 1.0
_MOST_KNOWN = 10_000
FIND_SQL = "SELECT id, owner, revoked_at FROM api_key WHERE digest = ?"


def digest(secret: str) -> str:
    """What is stored of a key. A fast hash is right here: 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class Credentials:
    """Resolves credentials against one database."""

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection = connect(path)
        self._connection.execute("PRAGMA query_only = ON")
        self._generation = Generation(path)
        self._known: dict[str | None, Principal] = {}
        self._seen = b""
        self._until = 0.0

    def resolve(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises key-missing or key-refused."""
        # The mark first: what is read after it is at least as new.
        seen, now = self._generation.now(), time.monotonic()
        if seen != self._seen or now > self._until or len(self._known) > _MOST_KNOWN:
            self._known.clear()
            self._seen, self._until = seen, now + _KEEP_S
        known = self._known.get(authorization)
        if known is None:
            known = self._known[authorization] = self._look_up(authorization)
        return known

    def _look_up(self, authorization: str | None) -> Principal:
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise ApplianceError(
                "key-missing", "The request carries no API key.", "Send the header 'Authorization: Bearer apl-...'."
            )
        found = self._connection.execute(FIND_SQL, (digest(secret.strip()),)).fetchone()
        if found is None or found[2] is not None:
            what = "unknown" if found is None else "revoked"
            raise ApplianceError(
                "key-refused", f"The API key is {what}.", "Ask your admin for a key: `appliance keys create`."
            )
        return Principal(name=found[1], key_id=found[0])

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()
        self._generation.close()
