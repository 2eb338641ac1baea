"""The chat page's own key as a credential: for whomever it vouches for, for reading documents only.

The page asks for conversations with each person's own access token. It does not for the vectors of their documents:
there it shows one key for everybody, and signs for whom it asks. Both together are as good as a token of that person
for embeddings and sorting, and nothing else; only on this machine, and only with nobody in between. Written against
the driver, like `accounts.resolve`.
"""

from __future__ import annotations

import hmac
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from appliance.accounts.api_keys import digest
from appliance.accounts.chat_secrets import CHAT_PAGE, ChatSecrets, read_file
from appliance.accounts.grant import Grant, Shown
from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.policy.addresses import admits, networks
from appliance.policy.names import email
from appliance.policy.principals import Principal

# What the page calls itself in what it signs, and how.
VOUCHES: Final = "open-webui"
ALGORITHM: Final = "HS256"
ENDPOINTS: Final = frozenset({"embeddings", "rerank"})
_HERE: Final = networks("127.0.0.0/8 ::1")
# Its calls are on record under this and the person's id, so that each person has limits of their own.
_ID: Final = "chat-"
_LONGEST: Final = 4096
_COLUMNS: Final = "id, login, team FROM person WHERE removed_at IS NULL"
PERSON_SQL: Final = f"SELECT {_COLUMNS} AND email = ?"
PERSON_BY_ID_SQL: Final = f"SELECT {_COLUMNS} AND id = ?"
# It is registered for as long as it is switched on.
REGISTERED_SQL: Final = "SELECT 1 FROM client WHERE id = ?"


class ChatPage:
    """Finds for whom the chat page asks. `file` has what it is known by, and need not be there."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self._connection = connection
        self._file = file
        self._secrets: ChatSecrets | None = None
        self._read_of: tuple[int, int] | None = None

    def find(self, secret: str, shown: Shown) -> Grant | None:
        """What the page's key grants together with its voucher; None for another secret.

        Raises key-refused where the key comes from elsewhere, or without a voucher that is good.
        """
        known = self._current()
        if known is None or not self._is_on() or not hmac.compare_digest(digest(secret), digest(known.service_key)):
            return None
        if not admits(_HERE, shown.address):
            raise _refused("It is good on the appliance itself only")
        if shown.voucher is None:
            raise _refused("It must say for whom it asks, and ask without a proxy in between")
        claims = _vouched(shown.voucher, known.user_header)
        grant = self._person(PERSON_SQL, _address(claims))
        if grant is None:
            raise _refused("Nobody with an account has the address that it asks for")
        return Grant(grant.principal, int(claims["exp"]) * 1_000_000)

    def by_id(self, key_id: str) -> Grant | None:
        """What the page may still do for somebody; None where there is no such person or no page any more."""
        if not key_id.startswith(_ID) or self._current() is None or not self._is_on():
            return None
        return self._person(PERSON_BY_ID_SQL, key_id.removeprefix(_ID))

    def _person(self, sql: str, value: str) -> Grant | None:
        found = self._connection.execute(sql, (value,)).fetchone()
        if found is None:
            return None
        person_id, login, team = found
        return Grant(
            Principal(
                name=login, key_id=_ID + person_id, team=team, priority="chat", endpoints=ENDPOINTS, by_chat_page=True
            )
        )

    def _is_on(self) -> bool:
        return self._connection.execute(REGISTERED_SQL, (CHAT_PAGE,)).fetchone() is not None

    def _current(self) -> ChatSecrets | None:
        """The page's secrets, read again when there are others. A file that cannot be used is as good as none."""
        try:
            found = self._file.stat()
        except OSError:
            self._secrets = self._read_of = None
            return None
        if self._read_of != (found.st_ino, found.st_mtime_ns):
            self._read_of = (found.st_ino, found.st_mtime_ns)
            try:
                self._secrets = read_file(self._file)
            except ApplianceError as error:
                self._secrets = None
                note(error.code, "", why=error.sentence)
        return self._secrets


def _vouched(voucher: str, key: str) -> dict[str, Any]:
    """The claims of what the page has signed, and not long ago."""
    from joserfc import jwt
    from joserfc.errors import JoseError
    from joserfc.jwk import OctKey

    try:
        if len(voucher) > _LONGEST:
            raise ValueError("longer than any that the page signs")
        claims = jwt.decode(voucher, OctKey.import_key(key), algorithms=[ALGORITHM]).claims
    except (JoseError, TypeError, ValueError) as error:
        raise _refused("For whom it asks is not signed by the chat page") from error
    if claims.get("iss") != VOUCHES or type(claims.get("exp")) is not int:
        raise _refused("For whom it asks was not signed for that")
    if claims["exp"] <= time.time():
        raise _refused("For whom it asks was signed too long ago")
    return claims


def _address(claims: dict[str, Any]) -> str:
    """The address of the person, in the form in which it is stored."""
    said = claims.get("email")
    try:
        return email(said if isinstance(said, str) else "")
    except ApplianceError as error:
        raise _refused("It does not say for whom it asks") from error


def _refused(why: str) -> ApplianceError:
    return ApplianceError(
        "key-refused",
        f"The chat page's own key is refused. {why}.",
        "Only the chat page of this appliance uses it: make a key of your own with `appliance keys create`.",
    )
