"""People for tests: accounts whose password everybody knows, hashed once for all of them."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlmodel import Session

from appliance.accounts import passwords, people
from appliance.accounts.people_tables import Person
from appliance.policy.roles import Role

PASSWORD = "vier grüne Stühle tanzen"


@cache
def hashed() -> str:
    """The hash of `PASSWORD`."""
    return passwords.hashed(PASSWORD)


def somebody(session: Session, login: str, role: Role = Role.STAFF, **more: Any) -> Person:
    """An account that can sign in."""
    return people.add(session, f"{login}@example.com", role=role, **{"password": hashed(), **more})


def owner(session: Session, login: str) -> Person:
    """An owner who can sign in."""
    return somebody(session, login, Role.OWNER)
