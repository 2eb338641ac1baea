"""API keys as credentials: `apl-` and 256 random bits, of which only a digest is stored."""

from __future__ import annotations

import hashlib
import sqlite3

from appliance.accounts.grant import Grant, Shown
from appliance.errors import ApplianceError
from appliance.policy.addresses import networks
from appliance.policy.principals import Principal

PREFIX = "apl-"
_COLUMNS = "id, owner, team, priority, models, endpoints, addresses, expires_at, revoked_at, successor"
FIND_SQL = f"SELECT {_COLUMNS} FROM api_key WHERE digest = ?"
_BY_ID_SQL = f"SELECT {_COLUMNS} FROM api_key WHERE id = ?"


def digest(secret: str) -> str:
    """What is stored of a key. A fast hash is right here: 256 random bits cannot be guessed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class ApiKeys:
    """Finds API keys in the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def find(self, secret: str, shown: Shown) -> Grant | None:
        """What a key grants; None for whatever is no key of ours. Raises key-refused for one that was revoked."""
        if not secret.startswith(PREFIX):
            return None
        return self._grant(FIND_SQL, digest(secret))

    def by_id(self, key_id: str) -> Grant | None:
        """What the key of an id grants; None where there is none. Raises key-refused for one that was revoked."""
        return self._grant(_BY_ID_SQL, key_id)

    def _grant(self, sql: str, value: str) -> Grant | None:
        found = self._connection.execute(sql, (value,)).fetchone()
        if found is None:
            return None
        id, owner, team, priority, models, endpoints, addresses, expires_at, revoked_at, successor = found
        if revoked_at is not None:
            raise ApplianceError(
                "key-refused", "The API key is revoked.", "Ask your admin for a key: `appliance keys create`."
            )
        principal = Principal(
            name=owner,
            key_id=id,
            team=team,
            priority=priority,
            models=frozenset(models.split()),
            endpoints=frozenset(endpoints.split()),
        )
        return Grant(principal, expires_at, networks(addresses), successor)
