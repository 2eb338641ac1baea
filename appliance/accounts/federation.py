"""People whom another source has proved: found, linked or made here, with the groups that follow from theirs.

The source and its own name for somebody say who they are. An address only links, once, and only where the source
vouches for it: whoever could set an address of their choice there would else be whomever they like here.
"""

from __future__ import annotations

from sqlmodel import Session, col, select

from appliance.accounts import groups, people, suspension
from appliance.accounts.api_keys import digest
from appliance.accounts.federation_tables import ForeignAccount, RemovedAddress
from appliance.accounts.people_tables import Group, Membership, Person
from appliance.accounts.tables import Suspension
from appliance.audit.actions import Action
from appliance.audit.acts import Acts
from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.policy.federation import Vouched
from appliance.policy.roles import Role, role
from appliance.units import now_us


def admit(acts: Acts, who: Vouched) -> Person:
    """The person that a source has proved, with the groups that it gives them. Raises account-not-vouched or suspended.

    Wants a transaction that is the only one to write. Whoever is new gets an account here.
    """
    session = acts.session
    known = session.get(ForeignAccount, (who.source, who.subject))
    person = session.get(Person, known.person_id) if known is not None else None
    if person is None or person.removed_at is not None:
        person = _by_address(acts, who)
        known = _link(acts, person, who, known)
    assert known is not None
    _let_in(acts, known, person)
    people.must_not_be_shut_out(session, person)
    if person.email.rpartition("@")[2] not in who.domains:
        raise _stranger(f"{person.login} has an address here that {who.source} does not vouch for")
    known.seen_at = now_us()
    synchronise(acts, person, who.source, who.groups)
    session.flush()
    return person


def synchronise(acts: Acts, person: Person, source: str, wanted: frozenset[str]) -> None:
    """Give somebody the groups that a source gives them, and take away those that it does not any more.

    Groups that were given by hand, or by another source, stay as they are. A group that we do not have is given to
    nobody, which the log says.
    """
    session = acts.session
    mine = {one.group_name: one for one in session.exec(select(Membership).where(Membership.person_id == person.id))}
    for name in sorted(mine):
        if mine[name].given_by == source and name not in wanted:
            groups.leave(session, groups.find(session, name), person)
            acts.note(Action.GROUP_LEFT, person.login, group=name, team=person.team)
    for name in sorted(wanted - mine.keys()):
        group = session.get(Group, name)
        if group is None:
            note("mapped-group-missing", "", group=name, source=source)
            continue
        groups.join(session, group, person, given_by=source)
        acts.note(Action.GROUP_JOINED, person.login, group=name, team=person.team)


def of_source(session: Session, source: str) -> list[ForeignAccount]:
    """The accounts at a source of those who are here."""
    here = select(Person.id).where(col(Person.removed_at).is_(None))
    mine = (ForeignAccount.source == source, col(ForeignAccount.person_id).in_(here))
    return list(session.exec(select(ForeignAccount).where(*mine)))


def follow(acts: Acts, source: str, subject: str, *, is_there: bool) -> bool:
    """Shut somebody out whose account at a source has ended, or let them in who was so; whether anything changed.

    Whom somebody here has shut out, the source does not let in. Raises last-owner.
    """
    known = acts.session.get(ForeignAccount, (source, subject))
    person = acts.session.get(Person, known.person_id) if known is not None else None
    if known is None or person is None or person.removed_at is not None:
        return False
    if is_there:
        return _let_in(acts, known, person)
    if acts.session.get(Suspension, (suspension.USER, person.login)) is not None:
        return False
    suspension.suspend(acts.session, suspension.USER, person.login)
    known.shut_out_at = now_us()
    acts.note(Action.SUSPENDED, person.login, kind="user", why=f"gone-from-{source}")
    return True


def _let_in(acts: Acts, known: ForeignAccount, person: Person) -> bool:
    """Let somebody in who was only shut out because their account there had ended; it has not any more."""
    if known.shut_out_at is None:
        return False
    known.shut_out_at = None
    if acts.session.get(Suspension, (suspension.USER, person.login)) is None:
        return False
    suspension.resume(acts.session, suspension.USER, person.login)
    acts.note(Action.RESUMED, person.login, kind="user", why=f"back-in-{known.source}")
    return True


def unlink(session: Session, person: Person) -> int:
    """Forget somebody's accounts elsewhere, and take what groups these gave; how many that were.

    Their address may link another account then: for whoever got a new one there.
    """
    mine = list(session.exec(select(ForeignAccount).where(ForeignAccount.person_id == person.id)))
    for one in mine:
        session.delete(one)
    given = select(Membership).where(Membership.person_id == person.id, Membership.given_by != "")
    for membership in list(session.exec(given)):
        groups.leave(session, groups.find(session, membership.group_name), person)
    session.flush()
    return len(mine)


def _by_address(acts: Acts, who: Vouched) -> Person:
    """Whoever has the address that the source vouches for; they get an account if nobody has."""
    if not who.address:
        raise _stranger(f"{who.source} vouches for no address of an account that we do not know")
    person = people.by_email(acts.session, who.address)
    if person is not None and person.role == Role.OWNER:
        # Whoever runs the provider could else make themselves the owner of this box.
        raise _stranger(f"{person.login} owns the appliance, and owners sign in with what they have here")
    if person is not None:
        return person
    if acts.session.get(RemovedAddress, digest(who.address)) is not None:
        raise _stranger("the account with this address was removed")
    person = people.add(acts.session, who.address, name=who.name, role=role(who.role))
    acts.note(Action.PERSON_ADDED, person.login, role=str(person.role), groups="", password=False)
    return person


def _link(acts: Acts, person: Person, who: Vouched, known: ForeignAccount | None) -> ForeignAccount:
    """Remember that an account elsewhere is this person's. A person has one at each source."""
    session = acts.session
    mine = select(ForeignAccount).where(ForeignAccount.person_id == person.id, ForeignAccount.source == who.source)
    if session.exec(mine).first() is not None:
        # Somebody of the same name who came later, perhaps.
        raise _stranger(f"{person.login} is linked to another account of {who.source}")
    now = now_us()
    if known is None:
        known = ForeignAccount(source=who.source, subject=who.subject, person_id=person.id, linked_at=now, seen_at=now)
        session.add(known)
    else:
        known.person_id, known.linked_at = person.id, now
    session.flush()
    acts.note(Action.PERSON_LINKED, person.login, source=who.source)
    return known


def _stranger(why: str) -> ApplianceError:
    return ApplianceError(
        "account-not-vouched",
        f"The account is nobody's here: {why}.",
        "Your admin can give you an account: appliance users add EMAIL, and ends an old link: appliance users unlink.",
    )
