"""Everybody on a list gets an account, or nobody does."""

from __future__ import annotations

from sqlmodel import Session, select

from appliance.accounts import people
from appliance.accounts.people_tables import Group, Person
from appliance.errors import ApplianceError
from appliance.policy.roster import Entry, Fault

# A sentence names so many mistakes: whoever has mended them sees the next ones.
_MOST_TOLD = 50


def faults(session: Session, entries: tuple[Entry, ...]) -> tuple[Fault, ...]:
    """What keeps the people on a list from being added: who has an account already, which groups are missing."""
    known = set(session.exec(select(Group.name)))
    found = []
    for entry in entries:
        if people.by_email(session, entry.email) is not None:
            found.append(Fault(entry.line, f"{entry.email} has an account already"))
        found += [Fault(entry.line, f"there is no group '{group}'") for group in entry.groups if group not in known]
    return tuple(found)


def must_be_right(found: tuple[Fault, ...]) -> None:
    """Raises import-refused, with all mistakes by line."""
    if not found:
        return
    told = sorted(found, key=lambda fault: fault.line)[:_MOST_TOLD]
    more = f"; and {len(found) - len(told)} more" if len(found) > len(told) else ""
    raise ApplianceError(
        "import-refused",
        f"Nobody was added: {'; '.join(map(str, told))}{more}.",
        "Mend these lines and import the file again; `appliance groups add NAME` adds a group.",
    )


def add_all(session: Session, entries: tuple[Entry, ...]) -> list[Person]:
    """Give everybody on a list an account, still without a password. Raises import-refused."""
    must_be_right(faults(session, entries))
    return [people.add(session, entry.email, name=entry.name, role=entry.role, into=entry.groups) for entry in entries]
