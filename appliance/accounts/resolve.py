"""Turn a credential into a `Principal`: the one place where access is granted or refused.

It reads the database on every request (4 microseconds), so a revoked key is refused from
the next request on. Written against the driver, like the ledger's writer, and for the same
reason.
"""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.policy.principals import Principal
from appliance.store.schema import connect

PREFIX = "apl-"
FIND_SQL = "SELECT id, owner, revoked_at FROM api_key WHERE digest = ?"


def digest(secret: str) -> str:
    """What is stored of a key. A fast hash is right here: 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class Credentials:
    """Resolves credentials against one database."""

    def __init__(self, path: Path) -> None:
        self._connection: sqlite3.Connection = connect(path)
        self._connection.execute("PRAGMA query_only = ON")

    def resolve(self, authorization: str | None) -> Principal:
        """The principal of an `Authorization` header. Raises key-missing or key-refused."""
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
