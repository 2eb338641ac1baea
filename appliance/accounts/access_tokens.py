"""Access tokens of sign-on as credentials: signed by us, for this gateway, not over, and of somebody still signed in.

A signature says what was true half an hour ago at most; that it still is, the database says. Written against the
driver, like `accounts.resolve`. What checks signatures takes 10 MiB, which an appliance without sign-on does without,
and half a second of a slow core to import: so where there is sign-on, that is done before the first request.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from appliance.accounts.chat_secrets import CHAT_PAGE
from appliance.accounts.grant import Grant, Shown
from appliance.errors import ApplianceError
from appliance.policy.principals import Principal
from appliance.units import now_us, show_instant

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHM: Final = "RS256"
# Whom an access token is for: the gateway of this appliance.
AUDIENCE: Final = "urn:appliance:gateway"
# What the token's own form says that it is, so that no id token passes for one (RFC 9068).
TYPE: Final = "at+jwt"
_FORM: Final = re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_LONGEST: Final = 8192
STILL_SQL = (
    "SELECT token_family.expires_at, client.id, client.name, person.login, person.team, token_family.person_id"
    " FROM token_family JOIN client ON client.id = token_family.client_id"
    " LEFT JOIN person ON person.id = token_family.person_id AND person.removed_at IS NULL"
    " WHERE token_family.id = ? AND token_family.ended_at IS NULL"
)


class AccessTokens:
    """Finds whom a token stands for. `issuer` is the one whose tokens count, empty where there is no sign-on."""

    def __init__(self, connection: sqlite3.Connection, issuer: str, public_keys: Path) -> None:
        self._connection = connection
        self._issuer = issuer
        self._file = public_keys
        self._keys: KeySet | None = None
        self._read_of: tuple[int, int] | None = None
        if issuer:
            # Nothing of it is imported later.
            import joserfc.jwk
            import joserfc.jwt  # noqa: F401

    def find(self, secret: str, shown: Shown) -> Grant | None:
        """What a token grants; None for what is no token.

        Raises key-refused for one that is not ours or was taken back, key-expired for one that is over.
        """
        if len(secret) > _LONGEST or not _FORM.fullmatch(secret):
            return None
        if not self._issuer:
            raise _refused("There is no sign-on here")
        claims = self._checked(secret)
        grant = self.by_id(str(claims["family"]))
        if grant is None or grant.expires_at is None:
            raise _refused("It was taken back, or whoever it stands for has signed out")
        return Grant(grant.principal, min(grant.expires_at, int(claims["exp"]) * 1_000_000))

    def by_id(self, key_id: str) -> Grant | None:
        """What the tokens of a family grant, as long as it has not ended; None where it has, or there is none."""
        found = self._connection.execute(STILL_SQL, (key_id,)).fetchone()
        if found is None:
            return None
        expires_at, client_id, program, login, team, person_id = found
        if expires_at <= now_us() or (person_id is not None and login is None):
            return None
        if person_id is None:
            # Nobody's name begins like that, so a program never counts for a person.
            return Grant(Principal(name=f"program:{program}", key_id=key_id), expires_at)
        by_page = client_id == CHAT_PAGE
        return Grant(Principal(name=login, key_id=key_id, team=team, priority="chat", by_chat_page=by_page), expires_at)

    def _checked(self, secret: str) -> dict[str, Any]:
        """The claims of a token that we signed for this gateway."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            token = jwt.decode(secret, self._public(), algorithms=[ALGORITHM])
        except (JoseError, TypeError, ValueError) as error:
            raise _refused("It is not signed by this appliance's sign-on") from error
        claims = token.claims
        if token.header.get("typ") != TYPE or claims.get("aud") != AUDIENCE or claims.get("iss") != self._issuer:
            raise _refused("It was made for something else than this API")
        if type(claims.get("exp")) is not int or not isinstance(claims.get("family"), str):
            raise _refused("It does not say how long it is good, or whose it is")
        if claims["exp"] <= time.time():
            when = (show_instant(claims["exp"] * 1_000_000) or "")[:19].replace("T", " ")
            raise ApplianceError(
                "key-expired", f"The access token expired at {when} UTC.", "Get a new one, or sign in again."
            )
        return claims

    def _public(self) -> KeySet:
        """The public keys, read again when sign-on has published others."""
        from joserfc.jwk import KeySet

        try:
            found = self._file.stat()
            if self._keys is None or self._read_of != (found.st_ino, found.st_mtime_ns):
                self._keys = KeySet.import_key_set(json.loads(self._file.read_bytes()))
                self._read_of = (found.st_ino, found.st_mtime_ns)
        except (OSError, ValueError) as error:
            raise _refused("Nobody has signed in here yet") from error
        return self._keys


def _refused(why: str) -> ApplianceError:
    return ApplianceError("key-refused", f"The access token is refused. {why}.", "Sign in again.")
