"""One-time links: how somebody who cannot sign in yet, or not any more, sets a password.

Of a link only the SHA-256 of its 256 random bits is stored. It works once and until its time is over, and no longer
than until there is a newer one for the same purpose.
"""

from __future__ import annotations

import secrets
from typing import Final

from sqlmodel import Session, col, delete, update

from appliance.accounts import owners, people
from appliance.accounts.api_keys import digest
from appliance.accounts.people_tables import Link, Person
from appliance.errors import ApplianceError
from appliance.units import now_us

INVITE, RESET, OWNER = "invite", "reset", "owner"

_HOUR_US: Final = 3_600_000_000
# An invitation waits for somebody to come back from a holiday; the others are used while one stands there.
LASTS_US: Final = {INVITE: 7 * 24 * _HOUR_US, RESET: 24 * _HOUR_US, OWNER: 24 * _HOUR_US}
PATH: Final = "/welcome/"
_UNUSED: Final = col(Link.used_at).is_(None)


def make(session: Session, person: Person | None, purpose: str) -> tuple[Link, str]:
    """A new link for somebody, or for the `OWNER` who is not known yet: its row, and its secret, which is shown once.

    Earlier ones for the same purpose are void.
    """
    whose = None if person is None else person.id
    session.exec(
        delete(Link).where(col(Link.person_id).is_not_distinct_from(whose), col(Link.purpose) == purpose, _UNUSED)
    )
    secret, now = secrets.token_urlsafe(32), now_us()
    link = Link(
        digest=digest(secret), person_id=whose, purpose=purpose, created_at=now, expires_at=now + LASTS_US[purpose]
    )
    session.add(link)
    session.flush()
    return link, secret


def void(session: Session, person: Person) -> None:
    """Somebody has set a password in another way: no link for one that they still have works any more."""
    session.exec(delete(Link).where(col(Link.person_id) == person.id, _UNUSED))


def find(session: Session, secret: str) -> tuple[Link, Person | None]:
    """A link that works, and whose it is; nothing of it is used up. Raises link-refused or suspended."""
    link = session.get(Link, digest(secret))
    if link is None:
        raise _refused("This link is not one of ours, or a newer one has taken its place.")
    if link.used_at is not None:
        raise _refused("This link was used already.")
    if link.expires_at <= now_us():
        raise _refused("The time of this link is over.")
    if link.purpose == OWNER and owners.who_can_sign_in(session):
        raise _refused("Somebody owns this appliance already.")
    person = None if link.person_id is None else session.get(Person, link.person_id)
    if person is not None:
        people.must_not_be_shut_out(session, person)
    return link, person


def use(session: Session, secret: str) -> tuple[Link, Person | None]:
    """Use a link up: of two who try at once, one gets it. Raises link-refused or suspended.

    What it was used for belongs into the same transaction, so that a link is not lost for a password that is refused.
    """
    link, person = find(session, secret)
    taken = session.exec(update(Link).where(col(Link.digest) == link.digest, _UNUSED).values(used_at=now_us()))
    if taken.rowcount != 1:
        raise _refused("This link was used already.")
    return link, person


def address(base: str, secret: str) -> str:
    """Where a link leads to, below the address of the sign-on pages."""
    return f"{base.rstrip('/')}{PATH}{secret}"


def _refused(sentence: str) -> ApplianceError:
    return ApplianceError("link-refused", sentence, "Ask your admin for a new one: `appliance users reset EMAIL`.")
