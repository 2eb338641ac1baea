"""There is always an owner who can sign in: whatever would leave the appliance without one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlmodel import Session, col, exists, or_, select

from appliance.accounts.people_tables import Passkey, Person
from appliance.accounts.tables import Suspension
from appliance.errors import ApplianceError
from appliance.policy.roles import Role


def who_can_sign_in(session: Session) -> set[str]:
    """The ids of the owners who can sign in: with a password or a passkey here, and not shut out, nor their team."""
    shut_out = exists().where(
        or_(
            (col(Suspension.kind) == "user") & (col(Suspension.name) == Person.login),
            (col(Suspension.kind) == "team") & (col(Suspension.name) == Person.team),
        )
    )
    has_passkey = exists().where(col(Passkey.person_id) == Person.id)
    query = select(Person.id).where(
        Person.role == Role.OWNER,
        col(Person.removed_at).is_(None),
        or_(col(Person.password) != "", has_passkey),
        ~shut_out,
    )
    return set(session.exec(query))


def must_be_none(session: Session) -> None:
    """Raises owner-exists once somebody owns the appliance and can sign in."""
    if who_can_sign_in(session):
        raise ApplianceError(
            "owner-exists",
            "Somebody owns this appliance already.",
            "They can make others owners: appliance users invite EMAIL --role owner",
        )


@contextmanager
def keeping_one(session: Session) -> Iterator[None]:
    """What the block does must leave an owner who can sign in, if there was one. Raises last-owner.

    The transaction must be the only one that writes (`session(path, alone=True)`, `acting`), and must not be
    committed after a refusal.
    """
    before = who_can_sign_in(session)
    yield
    session.flush()
    if before and not who_can_sign_in(session):
        raise ApplianceError(
            "last-owner",
            "Nobody would be left who owns the appliance and can sign in.",
            "Make somebody else an owner first: appliance users role EMAIL owner",
        )
