"""Groups of people. A group has the name by which keys, budgets and suspensions know a team."""

from __future__ import annotations

from collections import defaultdict

from sqlmodel import Session, col, delete, select

from appliance.accounts import owners
from appliance.accounts.people_tables import Group, Membership, Person
from appliance.errors import ApplianceError
from appliance.policy import names
from appliance.units import now_us


def add(session: Session, name: str) -> Group:
    """A new group. Raises wrong-use or group-exists."""
    name = names.group(name)
    known = next((one for one in session.exec(select(Group.name)) if names.same(one, name)), None)
    if known is not None:
        raise ApplianceError(
            "group-exists", f"There is a group '{known}' already.", "See the groups with `appliance groups list`."
        )
    group = Group(name=name, created_at=now_us())
    session.add(group)
    session.flush()
    return group


def find(session: Session, name: str) -> Group:
    """A group by its name. Raises wrong-use or group-not-found."""
    name = names.group(name)
    group = session.get(Group, name)
    if group is None:
        raise ApplianceError(
            "group-not-found", f"There is no group '{name}'.", f"Add it first: appliance groups add '{name}'"
        )
    return group


def remove(session: Session, group: Group) -> None:
    """Take a group away from everybody in it. Budgets, keys and suspensions of its name stay as they are."""
    with owners.keeping_one(session):
        session.exec(delete(Membership).where(col(Membership.group_name) == group.name))
        for person in session.exec(select(Person).where(Person.team == group.name)):
            person.team = ""
        session.flush()
        session.delete(group)


def join(session: Session, group: Group, person: Person, *, counts: bool = False, given_by: str = "") -> None:
    """Take somebody into a group; their use counts for it if it is their first, or `counts`. Raises last-owner.

    What is done by hand is not undone by a source that gave it before.
    """
    with owners.keeping_one(session):
        found = session.get(Membership, (person.id, group.name))
        if found is None:
            session.add(Membership(person_id=person.id, group_name=group.name, given_by=given_by))
        elif not given_by:
            found.given_by = ""
        if counts or not person.team:
            person.team = group.name


def leave(session: Session, group: Group, person: Person) -> None:
    """Take somebody out of a group; if their use counted for it, it counts for none. Raises wrong-use."""
    found = session.get(Membership, (person.id, group.name))
    if found is None:
        raise ApplianceError(
            "wrong-use",
            f"{person.name} is not in the group '{group.name}'.",
            "See who is in which group with `appliance users list`.",
        )
    session.delete(found)
    if person.team == group.name:
        person.team = ""
    session.flush()


def members(session: Session) -> dict[str, list[str]]:
    """The names of the groups that each person is in, by the person's id."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for one in session.exec(select(Membership).order_by(col(Membership.group_name))):
        found[one.person_id].append(one.group_name)
    return found


def people_in(session: Session, group: Group) -> list[Person]:
    """Who is in a group, by address."""
    inside = select(Membership.person_id).where(Membership.group_name == group.name)
    return list(session.exec(select(Person).where(col(Person.id).in_(inside)).order_by(col(Person.email))))


def listed(session: Session) -> list[Group]:
    """All groups, by name."""
    return sorted(session.exec(select(Group)), key=lambda group: group.name.casefold())
