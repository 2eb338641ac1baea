"""What people kept on the chat page goes, once they are removed: looked for again and again, while there is any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlmodel import col, select

from appliance.accounts import chat_secrets
from appliance.accounts.people_tables import Person
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.chat.leavers import ChatAdmin, Kept, kept
from appliance.config.paths import Home
from appliance.identity.services import Services

LOOK_S: Final = 15.0
_ACTOR: Final = "sign-on"


def look_after(services: Services, host: str, port: int, stopped: Callable[[], bool] = lambda: False) -> int:
    """Delete what the removed keep on the page at `host` and `port`; of how many people. `stopped` ends it early.

    While the page does not run, nothing is done and nothing lost. Raises chat-page-refused, chat-secrets-bad or
    audit-unavailable.
    """
    left = _left(services)
    known = chat_secrets.read(services.home) if left else None
    if known is None:
        return 0
    admin, count = ChatAdmin(host, port, services.home.chat, known.storage), 0
    for login, one in left:
        if stopped() or not admin.answers():
            break
        # On record first: what cannot be on record is not done.
        _note(services.home, login, one)
        admin.forget(one)
        count += 1
    return count


def _left(services: Services) -> list[tuple[str, Kept]]:
    """Who was removed and still keeps something there, by login."""
    there = kept(services.home.chat)
    if not there:
        return []
    with services.sessions.reading() as session:
        gone = session.exec(select(Person).where(col(Person.removed_at).is_not(None))).all()
        return [(one.login, there[one.id]) for one in gone if one.id in there]


def _note(home: Home, login: str, one: Kept) -> None:
    with acting(home, _ACTOR) as acts:
        acts.note(Action.CONVERSATIONS_REMOVED, login, conversations=one.conversations, documents=one.documents)
