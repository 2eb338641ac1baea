"""The chat page as a program that people sign in to: registered with what the settings say now."""

from __future__ import annotations

from sqlmodel import Session, col, select

from appliance.accounts import clients
from appliance.accounts.api_keys import digest
from appliance.accounts.sign_on_tables import Client
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.chat.environment import redirect_uri
from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.store.sessions import session
from appliance.units import now_us

NAME = "Chat"


def wanted(origin: str, port: int, secret: str) -> dict[str, str]:
    """What stands in the page's row: `origin` is its address for browsers, `port` the one it listens on here."""
    return {
        "name": NAME,
        "digest": digest(secret),
        "redirects": redirect_uri(origin),
        # Whoever signs out stays on the page of sign-on that says so: here they would be sent to sign in again.
        "logout_redirects": "",
        # Told directly, not by the proxy in front.
        "backchannel": f"http://127.0.0.1:{port}/oauth/backchannel-logout",
        "flows": clients.CODE,
    }


def register(home: Home, row: dict[str, str]) -> bool:
    """Make sure that the page's row is as `wanted` has it; whether that changed anything. Raises wrong-use."""
    with session(home.database) as opened:
        if _is_so(opened, row):
            return False
    with acting(home) as acts:
        _check_name(acts.session)
        found = acts.session.get(Client, clients.CHAT_PAGE)
        if found is None:
            acts.session.add(Client(id=clients.CHAT_PAGE, created_at=now_us(), **row))
        else:
            found.sqlmodel_update(row)
        acts.session.flush()
        acts.note(Action.CLIENT_ADDED, clients.CHAT_PAGE, name=NAME, flows=row["flows"], redirects=row["redirects"])
    return True


def withdraw(home: Home) -> bool:
    """Take the page's row away, for it is switched off; whether there was one. All its tokens end."""
    with session(home.database) as opened:
        if opened.get(Client, clients.CHAT_PAGE) is None:
            return False
    with acting(home) as acts:
        found = acts.session.get(Client, clients.CHAT_PAGE)
        if found is not None:
            clients.remove(acts.session, found)
            acts.note(Action.CLIENT_REMOVED, clients.CHAT_PAGE, name=NAME)
    return True


def _is_so(session: Session, row: dict[str, str]) -> bool:
    found = session.get(Client, clients.CHAT_PAGE)
    return found is not None and all(getattr(found, name) == value for name, value in row.items())


def _check_name(session: Session) -> None:
    other = session.exec(select(Client).where(col(Client.name) == NAME, col(Client.id) != clients.CHAT_PAGE)).first()
    if other is not None:
        raise ApplianceError(
            "wrong-use",
            f"Another program is registered as '{NAME}', the name of the chat page.",
            f"Register that one by another name, after: appliance clients remove {other.id} --yes",
        )
