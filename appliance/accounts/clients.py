"""Programs that people sign in to, as the admin handles them: registered, listed, removed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from sqlmodel import Session, col, select

from appliance.accounts import sign_on
from appliance.accounts.api_keys import digest
from appliance.accounts.chat_secrets import CHAT_PAGE as CHAT_PAGE
from appliance.accounts.sign_on_tables import Client
from appliance.config.loopback import LOOPBACK
from appliance.errors import ApplianceError
from appliance.policy import terms
from appliance.units import now_us

# With a browser; on a device without one, by a code that people type elsewhere; as itself, for nobody.
CODE, DEVICE, SERVICE = FLOWS = ("code", "device", "service")
# Where programs on this machine find what sign-on can do, with addresses that need neither a name nor a certificate.
INSIDE: Final = "/inside/openid-configuration"
# One address a line in the database's column: nothing in it may be blank.
_ADDRESS: Final = re.compile(r"https?://[!-~]{1,1000}")


def add(
    session: Session,
    name: str,
    *,
    redirects: Iterable[str] = (),
    logout_redirects: Iterable[str] = (),
    backchannel: str = "",
    flows: Iterable[str] = (),
    public: bool = False,
) -> tuple[Client, str]:
    """A new client: its row, and its secret, which is shown once and never stored; empty for a public one.

    With an address to send people back to, it signs them in by browser. Raises wrong-use.
    """
    redirects = tuple(redirects)
    wanted = sorted({*flows, *([CODE] if redirects else [])})
    if not wanted:
        raise ApplianceError(
            "wrong-use",
            "It is not said how this program gets its tokens.",
            "Add --redirect URI for a web page, --device for a program without one, or --service for a program alone.",
        )
    if public and SERVICE in wanted:
        raise ApplianceError(
            "wrong-use", "A public client has no secret, so it cannot act for itself.", "Leave out --public."
        )
    named = _free_name(session, name)
    secret = "" if public else "aps-" + secrets.token_urlsafe(32)
    client = Client(
        id="client-" + secrets.token_hex(6),
        name=named,
        digest=digest(secret) if secret else "",
        redirects=" ".join(_address(one, "redirect") for one in redirects),
        logout_redirects=" ".join(_address(one, "logout-redirect") for one in logout_redirects),
        backchannel=_address(backchannel, "backchannel") if backchannel else "",
        flows=" ".join(wanted),
        created_at=now_us(),
    )
    session.add(client)
    session.flush()
    return client, secret


def find(session: Session, name: str) -> Client:
    """A client by its name or its id. Raises client-not-found."""
    asked = terms.name(name, "client")
    found = session.exec(select(Client).where((col(Client.name) == asked) | (col(Client.id) == asked))).first()
    if found is None:
        raise ApplianceError(
            "client-not-found",
            f"No program '{name}' is registered for sign-on.",
            "See those that are with `appliance clients list`.",
        )
    return found


def listed(session: Session) -> list[Client]:
    """All clients by name."""
    return list(session.exec(select(Client).order_by(col(Client.name))))


def signed_in(session: Session, client: Client) -> int:
    """How many sign-ins to a client there are now."""
    return len(sign_on.families_of(session, client.id))


def remove(session: Session, client: Client) -> int:
    """Remove a client; how many sign-ins to it that ends."""
    ended = sign_on.end_client(session, client.id)
    session.delete(client)
    session.flush()
    return ended


def _free_name(session: Session, name: str) -> str:
    named = terms.name(name, "client")
    if session.exec(select(Client).where(col(Client.name) == named)).first() is not None:
        raise ApplianceError(
            "wrong-use",
            f"There is a program named '{named}' already.",
            f"Choose another name, or remove that one: appliance clients remove {named}",
        )
    return named


def _address(text: str, option: str) -> str:
    """An address that is taken as it is, character by character. Raises wrong-use."""
    parts = urlsplit(text) if _ADDRESS.fullmatch(text) else None
    if parts is None or not parts.hostname or parts.fragment or parts.username is not None:
        raise ApplianceError(
            "wrong-use",
            f"--{option} takes a whole address without a fragment, and '{text[:100]}' is none.",
            f"For example --{option} https://chat.example.com/oauth/oidc/callback",
        )
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ApplianceError(
            "wrong-use",
            f"'{text[:100]}' must begin with https://, or what is sent there could be read on the way.",
            "Only an address on this machine may begin with http://.",
        )
    return text
