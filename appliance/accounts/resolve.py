"""Turn a credential into a `Principal`: the one place where access is granted or refused.

Each kind of credential has a small resolver of its own, which says what the credential grants; it is put
on the list in `Credentials`. Expiry, addresses and suspension are the same for all kinds, and are checked here.
What no resolver knows is refused.

What is known of a credential is kept until a command writes the database, so a revoked key or a suspended owner
is refused from the next request on; an expiry counts at every request. Written against the driver, like the
ledger's writer, and for the same reason.
"""

from __future__ import annotations

import math
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

from appliance.accounts.access_tokens import AccessTokens
from appliance.accounts.api_keys import ApiKeys
from appliance.accounts.chat_page import ChatPage
from appliance.accounts.grant import Grant, Kind, Shown
from appliance.errors import ApplianceError
from appliance.policy.addresses import admits
from appliance.policy.principals import Principal
from appliance.store.generation import Generation
from appliance.store.schema import connect
from appliance.units import show_instant

# Whoever writes the database without our commands is noticed after this many seconds.
_KEEP_S = 1.0
_MOST_KNOWN = 10_000
_NOWHERE = Path("/nonexistent")
# Whoever was removed stays out, should a credential of theirs have been forgotten.
# Whose team is shut out is so with every key of theirs, also with one that counts for another team.
SUSPENDED_SQL = (
    "SELECT kind, name FROM suspension WHERE kind = 'user' AND name = ?1"
    " OR kind = 'team' AND name IN (?2, (SELECT team FROM person WHERE login = ?1))"
    " UNION ALL SELECT 'removed', login FROM person WHERE login = ?1 AND removed_at IS NOT NULL"
)
_TEAM_SQL = "SELECT team FROM person WHERE login = ?"


class Credentials:
    """Resolves credentials against one database."""

    def __init__(
        self, path: Path, issuer: str = "", public_keys: Path = _NOWHERE, chat_secrets: Path = _NOWHERE
    ) -> None:
        """`issuer` is whose access tokens count, empty for nobody's, and `public_keys` the file to check them with.

        `chat_secrets` is the file of what the chat page is known by. Without an issuer it counts for nothing either:
        nobody can have signed in to it.
        """
        self._connection: sqlite3.Connection = connect(path)
        self._connection.execute("PRAGMA query_only = ON")
        self._generation = Generation(path)
        tokens = AccessTokens(self._connection, issuer, public_keys)
        self._kinds: tuple[Kind, ...] = (ApiKeys(self._connection), tokens)
        if issuer:
            self._kinds += (ChatPage(self._connection, chat_secrets),)
        # By all that is shown: the principal, and the second since 1970 from which it is one no more.
        self._known: dict[tuple[str | None, str | None, str | None], tuple[Principal, float]] = {}
        self._seen = b""
        self._until = 0.0

    def resolve(self, authorization: str | None, address: str | None, voucher: str | None = None) -> Principal:
        """The principal of an `Authorization` header that came from an address (None where it has none).

        `voucher` is what the chat page has signed, for its own key. Raises key-missing, key-refused, key-expired,
        suspended or address-not-allowed.
        """
        # The mark first: what is read after it is at least as new.
        seen, now = self._generation.now(), time.monotonic()
        if seen != self._seen or now > self._until or len(self._known) > _MOST_KNOWN:
            self._known.clear()
            self._seen, self._until = seen, now + _KEEP_S
        asked = (authorization, address, voucher)
        known = self._known.get(asked)
        if known is None or time.time() >= known[1]:
            grant = self._find(authorization, Shown(address, voucher))
            self._check(grant, address)
            ends = math.inf if grant.expires_at is None else grant.expires_at / 1e6
            known = self._known[asked] = (self._placed(grant.principal), ends)
        return known[0]

    def resolve_key(self, key_id: str, address: str | None) -> Principal:
        """The principal of a key that was used before, from an address, as it stands now: for work that goes on.

        Raises key-refused, key-expired, suspended or address-not-allowed.
        """
        grant = next((found for kind in self._kinds if (found := kind.by_id(key_id)) is not None), None)
        if grant is None:
            raise ApplianceError(
                "key-refused",
                f"What was asked for under {key_id} may go on no more: the key is gone, or the sign-in has ended.",
                "Sign in again, or ask your admin for a key.",
            )
        self._check(grant, address)
        return self._placed(grant.principal)

    def _find(self, authorization: str | None, shown: Shown) -> Grant:
        scheme, _, said = (authorization or "").partition(" ")
        secret = said.strip()
        if scheme.lower() != "bearer" or not secret:
            raise ApplianceError(
                "key-missing", "The request carries no API key.", "Send the header 'Authorization: Bearer apl-...'."
            )
        for kind in self._kinds:
            grant = kind.find(secret, shown)
            if grant is not None:
                return grant
        raise ApplianceError(
            "key-refused", "The API key is unknown.", "Ask your admin for a key: `appliance keys create`."
        )

    def _check(self, grant: Grant, address: str | None) -> None:
        """What holds for every kind of credential."""
        if grant.expires_at is not None and time.time() >= grant.expires_at / 1e6:
            raise _expired(grant.expires_at, grant.successor)
        if grant.addresses and not admits(grant.addresses, address):
            raise ApplianceError(
                "address-not-allowed",
                f"This key may not be used from {address or 'here'}.",
                "Use it from an address that it was given for, or ask your admin for another key.",
            )
        principal = grant.principal
        found = self._connection.execute(SUSPENDED_SQL, (principal.name, principal.team)).fetchone()
        if found is not None:
            raise _suspended(principal, *found)

    def _placed(self, principal: Principal) -> Principal:
        """With the team that the use counts for: the credential's, else the person's own, where there is one."""
        if principal.team:
            return principal
        found = self._connection.execute(_TEAM_SQL, (principal.name,)).fetchone()
        return principal if found is None else replace(principal, team=found[0])

    def mark(self) -> bytes:
        """What is another once somebody else than now may be let in."""
        return self._generation.now()

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()
        self._generation.close()


def _expired(at: int, successor: str | None) -> ApplianceError:
    when = (show_instant(at) or "")[:19].replace("T", " ")
    if successor is None:
        return ApplianceError(
            "key-expired",
            f"The API key expired at {when} UTC.",
            "Ask your admin for a new one: `appliance keys create`.",
        )
    return ApplianceError(
        "key-expired",
        f"The API key expired at {when} UTC; {successor} replaces it.",
        "Use the new key, which your admin was given, or ask for another.",
    )


def _suspended(principal: Principal, kind: str, name: str) -> ApplianceError:
    if kind == "removed":
        return ApplianceError(
            "suspended", f"{principal.name} was removed.", "Ask your admin for an account or a key of your own."
        )
    who, option = (principal.name, "--owner") if kind == "user" else (f"the team {name}", "--team")
    return ApplianceError(
        "suspended",
        f"The access of {who} is suspended.",
        f"Ask your admin, who can end this: `appliance keys resume {option} NAME`.",
    )
