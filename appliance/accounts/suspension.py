"""Shut an owner or a team out for now, and let them in again: all credentials of theirs, whatever the kind."""

from __future__ import annotations

from sqlmodel import Session, col, or_, select

from appliance.accounts import owners, sign_on
from appliance.accounts.people_tables import Person
from appliance.accounts.tables import TEAM as TEAM
from appliance.accounts.tables import USER as USER
from appliance.accounts.tables import ApiKey, Suspension
from appliance.errors import ApplianceError
from appliance.policy import terms
from appliance.units import now_us


def suspend(session: Session, kind: str, name: str) -> Suspension:
    """Shut out a `USER` or a `TEAM`, from the next request on. Who is suspended already stays so since then.

    Whatever shuts somebody out comes by here, `people.disable` too: what is to end with it is ended here. Raises
    last-owner where nobody would be left who owns the appliance and can sign in.
    """
    found = _found(session, kind, name)
    if found is None:
        with owners.keeping_one(session):
            found = Suspension(kind=kind, name=_checked(kind, name), at=now_us())
            session.add(found)
        sign_on.end_shut_out(session)
    return found


def resume(session: Session, kind: str, name: str) -> None:
    """Let them in again, from the next request on. Raises not-suspended."""
    found = _found(session, kind, name)
    if found is None:
        raise ApplianceError(
            "not-suspended",
            f"The {_word(kind)} '{_checked(kind, name)}' is not suspended.",
            "See who is with `appliance keys list`.",
        )
    session.delete(found)
    session.flush()


def listed(session: Session) -> list[Suspension]:
    """Who is shut out, longest first."""
    return list(session.exec(select(Suspension).order_by(col(Suspension.at), col(Suspension.name))))


def of(session: Session, key: ApiKey) -> list[Suspension]:
    """What shuts a key out: its owner's suspension, its team's, that of the owner's own team; each once."""
    own = session.exec(select(Person.team).where(Person.login == key.owner)).first()
    teams = dict.fromkeys((key.team, own or ""))
    found = (session.get(Suspension, one) for one in ((USER, key.owner), *((TEAM, team) for team in teams)))
    return [one for one in found if one is not None]


def keys_of(session: Session, kind: str, name: str) -> list[ApiKey]:
    """The keys of an owner, or of a team and those whose use counts for it, revoked ones left out."""
    name = _checked(kind, name)
    members = select(Person.login).where(Person.team == name)
    whose = col(ApiKey.owner) == name
    if kind == TEAM:
        whose = or_(col(ApiKey.team) == name, col(ApiKey.owner).in_(members))
    return list(session.exec(select(ApiKey).where(whose, col(ApiKey.revoked_at).is_(None))))


def _found(session: Session, kind: str, name: str) -> Suspension | None:
    return session.get(Suspension, (kind, _checked(kind, name)))


def _checked(kind: str, name: str) -> str:
    return terms.name(name, _word(kind))


def _word(kind: str) -> str:
    return "owner" if kind == USER else "team"
