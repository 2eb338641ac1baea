"""The chat page as sign-on and the gateway know it, without the page: its registration, and the word that it signs."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

from appliance.accounts.chat_secrets import CHAT_PAGE, ChatSecrets
from appliance.accounts.sign_on_tables import Client
from appliance.store.sessions import session
from tests.support.sign_on import Program, SignOn

REDIRECT = "http://127.0.0.1:9/callback"
# The header in which it says, signed, for whom it asks.
WORD = "X-OpenWebUI-User-Jwt"


def registered(page: SignOn) -> Program:
    """The chat page in the list of programs, under its own id."""
    about = page.client("Chat", redirects=[REDIRECT])
    rename(page, about["id"], CHAT_PAGE)
    return Program(page, {**about, "id": CHAT_PAGE})


def rename(page: SignOn, old: str, new: str) -> None:
    """Give a program another id."""
    with session(page.box.state / "appliance.db", alone=True) as opened:
        row = opened.get(Client, old)
        assert row is not None
        row.id = new


def part(data: Any) -> str:
    """A piece of a token."""
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def signed(key: str, head: dict[str, Any], claims: dict[str, Any], by: str = "sha256") -> str:
    """A token that is signed with a secret."""
    said = f"{part(head)}.{part(claims)}"
    return f"{said}.{base64.urlsafe_b64encode(hmac.digest(key.encode(), said.encode(), by)).rstrip(b'=').decode()}"


def voucher(known: ChatSecrets, email: str = "anna@example.com", **changed: Any) -> dict[str, str]:
    """What the chat page sends besides its key, all but what is `changed`."""
    now = int(time.time())
    claims = {"sub": "5f0c", "email": email, "name": "A", "role": "user", "iss": "open-webui", "iat": now}
    head = {"alg": "HS256", "typ": "JWT"}
    return {WORD: signed(known.user_header, head, {**claims, "exp": now + 300, **changed})}
