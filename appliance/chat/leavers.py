"""What people keep on the chat page who have no account any more: found in its database, deleted by its own API.

The page is asked as its built-in admin, whom we let in by a token of its own form: it lives a minute, and nobody ever
signs in as that account. What is still to be deleted is what is still there, so it is forgotten by no restart.
"""

from __future__ import annotations

import http.client
import secrets
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.chat.environment import BUILT_IN
from appliance.errors import ApplianceError
from appliance.store.schema import read_only

_LONGEST_S: Final = 60.0
_TOKEN_S: Final = 60
_WHOSE: Final = "json_extract(oauth, '$.oidc.sub')"
# What somebody has shared stays for those whom it is shared with.
_NOT_SHARED: Final = "NOT EXISTS (SELECT 1 FROM access_grant WHERE resource_type = '{}' AND resource_id = {}.id)"
_IN_SHARED: Final = (
    "SELECT file_id FROM knowledge_file JOIN access_grant ON resource_type = 'knowledge' AND resource_id = knowledge_id"
)
# What is deleted, by the page's address for it, files ahead of the collections that they are in: the other way round
# something of them stays. The account takes the conversations along.
_PARTS: Final = (
    ("/api/v1/files/{}", f"SELECT id FROM file WHERE user_id = ? AND id NOT IN ({_IN_SHARED})", "file"),
    ("/api/v1/knowledge/{}/delete", f"SELECT id FROM knowledge WHERE user_id = ? AND {_NOT_SHARED}", "knowledge"),
    ("/api/v1/prompts/id/{}/delete", f"SELECT id FROM prompt WHERE user_id = ? AND {_NOT_SHARED}", "prompt"),
    ("/api/v1/folders/{}", "SELECT id FROM folder WHERE user_id = ? AND parent_id IS NULL", "folder"),
)


@dataclass(frozen=True, slots=True)
class Kept:
    """What somebody keeps on the page: `id` is the page's own of their account there, `person_id` is ours."""

    id: str
    person_id: str
    conversations: int
    documents: int


def kept(folder: Path) -> dict[str, Kept]:
    """What everybody keeps there, by our id of them; nothing where there is no page, or its database is being made."""
    file = folder / "webui.db"
    if not file.exists():
        return {}
    count = "(SELECT count(*) FROM {} WHERE user_id = user.id)"
    sql = f"SELECT id, {_WHOSE}, {count.format('chat')}, {count.format('file')} FROM user WHERE {_WHOSE} IS NOT NULL"
    try:
        with closing(read_only(file)) as connection:
            return {row[1]: Kept(*row) for row in connection.execute(sql)}
    except sqlite3.Error:
        return {}


class ChatAdmin:
    """The built-in account of a page that runs. `key` is what the page signs its sessions with."""

    def __init__(self, host: str, port: int, folder: Path, key: str) -> None:
        self._place = (host, port)
        self._file = folder / "webui.db"
        self._key = key

    def answers(self) -> bool:
        """Whether the page runs."""
        try:
            return self._ask("GET", "/health", "") == 200
        except ApplianceError:
            return False

    def forget(self, whose: Kept) -> None:
        """Delete somebody's documents, prompts, folders and conversations, then their account there.

        Raises chat-page-refused; what was done by then stays done, and the rest is done by the next try.
        """
        with closing(read_only(self._file)) as connection:
            token = self._token(connection)
            for path, sql, table in _PARTS:
                for (one,) in connection.execute(sql.format(table, table), (whose.id,)).fetchall():
                    self._delete(path.format(one), token)
        self._delete(f"/api/v1/users/{whose.id}", token)

    def _token(self, connection: sqlite3.Connection) -> str:
        """A session of the built-in account, as the page makes it."""
        from joserfc import jwt
        from joserfc.jwk import OctKey

        found = connection.execute(
            "SELECT user.id, session_stamp FROM user JOIN auth ON auth.id = user.id"
            " WHERE role = 'admin' AND user.email = ?",
            (BUILT_IN,),
        ).fetchone()
        if found is None:
            raise _refused("its built-in account is not there yet")
        now = int(time.time())
        claims: dict[str, Any] = {
            "id": found[0], "typ": "session", "session_stamp": found[1], "jti": secrets.token_hex(16), "iat": now,
            "exp": now + _TOKEN_S,
        }  # fmt: skip
        return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(self._key), algorithms=["HS256"])

    def _delete(self, path: str, token: str) -> None:
        status = self._ask("DELETE", path, token)
        # It is gone already.
        if status not in (200, 404):
            raise _refused(f"it answered {status} to the deletion of {path.rpartition('/api/v1/')[2]}")

    def _ask(self, method: str, path: str, token: str) -> int:
        connection = http.client.HTTPConnection(*self._place, timeout=_LONGEST_S)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            said = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _refused(f"it does not answer: {error}") from error
        finally:
            connection.close()
        # It says false where it has not done it.
        return 500 if method == "DELETE" and said == b"false" else response.status


def _refused(why: str) -> ApplianceError:
    return ApplianceError(
        "chat-page-refused",
        f"The chat page does not delete what somebody kept there who was removed: {why}.",
        "It is tried again every minute. Look at `appliance logs chat-page`.",
    )
