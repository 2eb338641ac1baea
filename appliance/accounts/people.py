"""People as the admin handles them: added, found, listed, shut out, removed.

Every function that changes something wants a transaction that is the only one to write, as `acting` makes it.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlmodel import Session, col, delete, select

from appliance.accounts import groups, keys, owners, sign_on, suspension
from appliance.accounts.api_keys import digest
from appliance.accounts.federation_tables import ForeignAccount, RemovedAddress
from appliance.accounts.people_tables import Group, Link, Membership, Passkey, Person, RecoveryCode
from appliance.accounts.tables import Suspension
from appliance.errors import ApplianceError
from appliance.policy import names
from appliance.policy.roles import Role
from appliance.units import now_us

ACTIVE, INVITED, UNUSED, DISABLED = STATES = ("active", "invited", "no password", "disabled")


@dataclass(frozen=True, slots=True)
class Listed:
    """Somebody as a list shows them. `state` is one of `STATES`; `shut_out` says who is: `user`, `team` or nobody.

    `sources` are the other places that they may sign in by.
    """

    person: Person
    groups: tuple[str, ...]
    state: str
    shut_out: str
    second_factors: tuple[str, ...]
    sources: tuple[str, ...] = ()


def add(
    session: Session,
    address: str,
    *,
    name: str = "",
    login: str = "",
    role: Role = Role.STAFF,
    into: Iterable[str] = (),
    password: str = "",
) -> Person:
    """Give somebody an account: without a password until `password`, a hash of `passwords`, is given.

    Name and login are made from the address where they are left out. Of the groups `into` which they go, their use
    counts for the first. Raises wrong-use, person-exists or group-not-found.
    """
    address = names.email(address)
    if by_email(session, address) is not None:
        raise ApplianceError(
            "person-exists", f"{address} has an account already.", "See who has one with `appliance users list`."
        )
    person = Person(
        id="per-" + secrets.token_hex(6),
        email=address,
        name=names.display_name(name) if name else names.name_from(address),
        login=_free_login(session, address, login),
        role=role,
        password=password,
        password_at=now_us() if password else None,
        created_at=now_us(),
    )
    session.add(person)
    session.flush()
    for group in into:
        groups.join(session, groups.find(session, group), person)
    return person


def find(session: Session, said: str) -> Person:
    """Somebody by their address, their login or their id. Raises person-not-found."""
    found: Person | None = None
    if "@" in said:
        found = by_email(session, said)
    else:
        named = select(Person).where(Person.login == said.strip().casefold(), col(Person.removed_at).is_(None))
        found = session.exec(named).first() or session.get(Person, said.strip())
    if found is None or found.removed_at is not None:
        shown = "".join(one if one.isprintable() else "?" for one in said[:100])
        raise ApplianceError(
            "person-not-found", f"Nobody here has the address '{shown}'.", "See who is with `appliance users list`."
        )
    return found


def by_email(session: Session, address: str) -> Person | None:
    """Whoever has an address, in whichever spelling; None where nobody has, or it is none."""
    try:
        kept = names.email(address)
    except ApplianceError:
        return None
    return session.exec(select(Person).where(Person.email == kept, col(Person.removed_at).is_(None))).first()


def is_known(session: Session, kind: str, name: str) -> bool:
    """Whether a `user` has an account with this login, or there is a group that is this `team`."""
    if kind == suspension.TEAM:
        return session.get(Group, name) is not None
    here = select(Person.id).where(Person.login == name, col(Person.removed_at).is_(None))
    return session.exec(here).first() is not None


def set_role(session: Session, person: Person, role: Role) -> None:
    """Give somebody another role. Raises last-owner."""
    with owners.keeping_one(session):
        person.role = role


def end_password(session: Session, person: Person) -> None:
    """Somebody's password is good for nothing from now on, until they set another one. Raises last-owner."""
    with owners.keeping_one(session):
        person.password, person.password_at = "", None


def disable(session: Session, person: Person) -> Suspension:
    """Shut somebody out with all that they can prove themselves with, from the next request on. Raises last-owner.

    It is the same suspension that keys have (decision 0022), so that there is one switch for all kinds of credentials.
    """
    for one in session.exec(select(ForeignAccount).where(ForeignAccount.person_id == person.id)):
        # Done by hand, it is not undone by a directory in which they are back.
        one.shut_out_at = None
    return suspension.suspend(session, suspension.USER, person.login)


def enable(session: Session, person: Person) -> None:
    """Let them in again. Raises not-suspended."""
    if session.get(Suspension, (suspension.USER, person.login)) is None:
        raise ApplianceError(
            "not-suspended", f"{person.name} is not shut out.", "See who is with `appliance users list`."
        )
    suspension.resume(session, suspension.USER, person.login)


def shut_out(session: Session, person: Person) -> str:
    """Who of them is shut out: `user`, `team`, or empty for nobody."""
    kinds = ((suspension.USER, person.login), (suspension.TEAM, person.team))
    return next((one[0] for one in kinds if session.get(Suspension, one) is not None), "")


def must_not_be_shut_out(session: Session, person: Person) -> None:
    """Raises suspended for whoever is shut out, or was removed."""
    if person.removed_at is not None or shut_out(session, person):
        raise ApplianceError(
            "suspended",
            f"The access of {person.login} is suspended.",
            "Ask your admin, who can end this: `appliance users enable EMAIL`.",
        )


def remove(session: Session, person: Person) -> int:
    """Remove somebody for good; how many API keys were revoked with it. Raises last-owner.

    The ledger and the audit log keep their login, and nobody else gets it; all else that is known of them goes, but for
    what keeps them out: by no other source of sign-on do they come back.
    """
    with owners.keeping_one(session):
        mine = suspension.keys_of(session, suspension.USER, person.login)
        for key in mine:
            keys.revoke(session, key)
        sign_on.end_person(session, person.id, "removed")
        sign_on.forget_devices(session, person.id)
        for table in (Link, Passkey, RecoveryCode, Membership):
            session.exec(delete(table).where(col(table.person_id) == person.id))
        address = digest(person.email)
        if session.get(RemovedAddress, address) is None:
            session.add(RemovedAddress(digest=address, removed_at=now_us()))
        person.email = person.name = person.team = person.password = person.totp = person.language = ""
        person.removed_at = now_us()
        lifted = session.get(Suspension, (suspension.USER, person.login))
        if lifted is not None:
            session.delete(lifted)
    return len(mine)


def listed(session: Session) -> list[Listed]:
    """Everybody with an account, by name."""
    found = session.exec(select(Person).where(col(Person.removed_at).is_(None)))
    now, members = now_us(), groups.members(session)
    invited = set(session.exec(select(Link.person_id).where(col(Link.used_at).is_(None), col(Link.expires_at) > now)))
    proved = set(session.exec(select(Passkey.person_id)))
    elsewhere = sources(session)
    out = {(one.kind, one.name) for one in suspension.listed(session)}
    return [
        _listed(
            one, tuple(members.get(one.id, ())), out, elsewhere.get(one.id, ()), invited=one.id in invited,
            passkey=one.id in proved,
        )
        for one in found
    ]  # fmt: skip


def sources(session: Session) -> dict[str, tuple[str, ...]]:
    """The other sources of sign-on that each person comes from, by the person's id."""
    found: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
    for one in session.exec(select(ForeignAccount).order_by(col(ForeignAccount.source))):
        found[one.person_id] += (one.source,)
    return found


def _listed(
    person: Person,
    groups: tuple[str, ...],
    out: set[tuple[str, str]],
    elsewhere: tuple[str, ...],
    *,
    invited: bool,
    passkey: bool,
) -> Listed:
    kinds = ((suspension.USER, person.login), (suspension.TEAM, person.team))
    shut_out = next((one[0] for one in kinds if one in out), "")
    can_prove = bool(person.password) or passkey or bool(elsewhere)
    state = DISABLED if shut_out else ACTIVE if can_prove else INVITED if invited else UNUSED
    factors = (*(["totp"] if person.totp else []), *(["passkey"] if passkey else []))
    return Listed(person, groups, state, shut_out, factors, elsewhere)


def _free_login(session: Session, address: str, wished: str) -> str:
    """The login that is wished for, or the first that is free; those of people who were removed never are."""

    def is_taken(login: str) -> bool:
        return session.exec(select(Person.id).where(Person.login == login)).first() is not None

    if not wished:
        return next(login for login in names.logins_from(address) if not is_taken(login))
    login = names.login(wished)
    if is_taken(login):
        raise ApplianceError(
            "person-exists",
            f"The login '{login}' belongs to somebody, or did once.",
            "Choose another one, or leave it out.",
        )
    return login
