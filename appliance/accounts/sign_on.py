"""Who is signed in, and the end of it: what is done here is part of the caller's transaction.

A sign-on is one person in one browser; of it come token families, one for each client. Whatever ends a sign-on ends
its families, and leaves a notice for each client that wants to be told.
"""

from __future__ import annotations

import secrets
from typing import Final

from sqlmodel import Session, and_, col, exists, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from appliance.accounts.api_keys import digest
from appliance.accounts.people_tables import Person
from appliance.accounts.sign_on_tables import Client, DeviceGrant, KnownDevice, LogoutNotice, SignOn, TokenFamily
from appliance.accounts.tables import TEAM, USER, Suspension
from appliance.units import now_us

SIGN_ON_S: Final = 14 * 86_400
_KNOWN_S: Final = 400 * 86_400


def begin(session: Session, person_id: str, means: str) -> tuple[SignOn, str]:
    """Somebody has proved who they are: the sign-on, and the secret that their browser keeps."""
    now, secret = now_us(), secrets.token_urlsafe(32)
    made = SignOn(
        id="son-" + secrets.token_hex(12),
        digest=digest(secret),
        person_id=person_id,
        means=means,
        began_at=now,
        expires_at=now + SIGN_ON_S * 1_000_000,
    )
    session.add(made)
    session.flush()
    return made, secret


def renew(session: Session, one: SignOn, means: str) -> tuple[SignOn, str]:
    """The same person has proved it once more in the same browser: what came of it goes on, under a new secret."""
    now, secret = now_us(), secrets.token_urlsafe(32)
    one.digest, one.means, one.began_at = digest(secret), means, now
    one.expires_at = now + SIGN_ON_S * 1_000_000
    session.flush()
    return one, secret


def current(session: Session, secret: str) -> tuple[SignOn, Person] | None:
    """Who is signed in with a browser's secret; None where nobody is any more."""
    found = session.exec(
        select(SignOn, Person)
        .where(SignOn.person_id == Person.id, SignOn.digest == digest(secret))
        .where(col(SignOn.ended_at).is_(None), SignOn.expires_at > now_us())
    ).first()
    return None if found is None or is_shut_out(session, found[1]) else (found[0], found[1])


def login_of(session: Session, sign_on_id: str) -> str:
    """Whose sign-on it is, by their login; empty where there is none."""
    query = select(Person.login).where(SignOn.person_id == Person.id, SignOn.id == sign_on_id)
    return session.exec(query).first() or ""


def is_shut_out(session: Session, person: Person) -> bool:
    """Whether somebody is removed or suspended, or their team is."""
    if person.removed_at is not None:
        return True
    return any(session.get(Suspension, one) for one in ((USER, person.login), (TEAM, person.team)))


def end(session: Session, one: SignOn, why: str) -> None:
    """End one sign-on, with all that came of it."""
    if one.ended_at is not None:
        return
    one.ended_at = now_us()
    for family in session.exec(_alive().where(TokenFamily.sign_on_id == one.id)):
        end_family(session, family, why)
    session.flush()


def end_family(session: Session, family: TokenFamily, why: str) -> None:
    """End all tokens of a family, and leave its client a notice."""
    if family.ended_at is not None:
        return
    family.ended_at, family.why = now_us(), why
    client = session.get(Client, family.client_id)
    if client is not None and client.backchannel and family.person_id is not None:
        session.add(
            LogoutNotice(
                client_id=client.id,
                person_id=family.person_id,
                sign_on_id=family.sign_on_id,
                tries=0,
                next_at=family.ended_at,
            )
        )
    session.flush()


def end_person(session: Session, person_id: str, why: str, but: str = "") -> int:
    """End all of somebody's sign-ons, but the one with the id `but`; how many that were, tokens on devices counted."""
    ons = select(SignOn).where(SignOn.person_id == person_id, col(SignOn.ended_at).is_(None), SignOn.id != but)
    signed_on = list(session.exec(ons))
    for one in signed_on:
        end(session, one, why)
    families = _alive().where(TokenFamily.person_id == person_id)
    left = [one for one in session.exec(families) if not but or one.sign_on_id != but]
    for family in left:
        end_family(session, family, why)
    for grant in session.exec(select(DeviceGrant).where(DeviceGrant.person_id == person_id)):
        grant.state = "refused"
    session.flush()
    return len(signed_on) + len(left)


def alive_of(session: Session, person_id: str) -> list[SignOn]:
    """The browsers in which somebody is signed in, newest first."""
    mine = (SignOn.person_id == person_id, col(SignOn.ended_at).is_(None), SignOn.expires_at > now_us())
    return list(session.exec(select(SignOn).where(*mine).order_by(col(SignOn.began_at).desc())))


def programs_of(session: Session, person_id: str) -> list[str]:
    """The names of the programs that hold tokens of somebody, by name."""
    mine = (TokenFamily.person_id == person_id, col(TokenFamily.ended_at).is_(None), TokenFamily.expires_at > now_us())
    return sorted(set(session.exec(select(Client.name).where(Client.id == TokenFamily.client_id, *mine))))


def families_of(session: Session, client_id: str) -> list[TokenFamily]:
    """The token families of a client that have not ended."""
    return list(session.exec(_alive().where(TokenFamily.client_id == client_id, TokenFamily.expires_at > now_us())))


def end_client(session: Session, client_id: str) -> int:
    """End all tokens of a client; of how many families."""
    families = families_of(session, client_id)
    for family in families:
        end_family(session, family, "client-removed")
    return len(families)


def end_shut_out(session: Session) -> int:
    """End what those still have who are removed or suspended, whoever did that and by what command; of how many."""
    people = shut_out(session)
    for person in people:
        end_person(session, person.id, "shut-out")
    return len(people)


def shut_out(session: Session) -> list[Person]:
    """Those who are removed or suspended and still have something."""
    suspended = exists().where(
        or_(
            and_(col(Suspension.kind) == USER, col(Suspension.name) == col(Person.login)),
            and_(col(Suspension.kind) == TEAM, col(Suspension.name) == col(Person.team)),
        )
    )
    mine = [
        exists().where(col(table.person_id) == col(Person.id), *alive)
        for table, alive in (
            (SignOn, (col(SignOn.ended_at).is_(None), col(SignOn.expires_at) > now_us())),
            (TokenFamily, (col(TokenFamily.ended_at).is_(None), col(TokenFamily.expires_at) > now_us())),
            (DeviceGrant, (col(DeviceGrant.state) == "allowed",)),
        )
    ]
    out = or_(col(Person.removed_at).is_not(None), suspended)
    return list(session.exec(select(Person).where(out, or_(*mine))))


def know_device(session: Session, person_id: str, secret: str | None) -> str:
    """Take a browser for one of somebody's own from now on; the secret by which it is known, perhaps to others too."""
    kept = session.exec(select(KnownDevice).where(KnownDevice.digest == digest(secret))).first() if secret else None
    known = secret if secret and kept is not None else secrets.token_urlsafe(32)
    found = session.get(KnownDevice, (digest(known), person_id))
    if found is None:
        found = KnownDevice(digest=digest(known), person_id=person_id, seen_at=0)
        session.add(found)
    found.seen_at = now_us()
    session.flush()
    return known


def is_known_device(session: Session, email: str, secret: str) -> bool:
    """Whether whoever has this address has signed in with this browser before."""
    since = now_us() - _KNOWN_S * 1_000_000
    query = (
        select(KnownDevice)
        .where(KnownDevice.person_id == Person.id, KnownDevice.digest == digest(secret), KnownDevice.seen_at > since)
        .where(Person.email == email, col(Person.removed_at).is_(None))
    )
    return session.exec(query).first() is not None


def forget_devices(session: Session, person_id: str) -> None:
    """Take no browser for theirs any more: the password was set anew, perhaps because somebody else had it."""
    for one in session.exec(select(KnownDevice).where(KnownDevice.person_id == person_id)):
        session.delete(one)


def _alive() -> SelectOfScalar[TokenFamily]:
    return select(TokenFamily).where(col(TokenFamily.ended_at).is_(None))
