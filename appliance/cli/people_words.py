"""What `appliance users` and `appliance groups` share: people as they are shown and put on record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlmodel import Session

    from appliance.accounts.people import Listed
    from appliance.accounts.people_tables import Person

# A list is at most this wide on a terminal of 80 columns, with the other columns as they mostly are.
_ADDRESS, _LOGIN, _GROUPS = 28, 14, 14


def plain(person: Person) -> dict[str, Any]:
    """Somebody as JSON shows them, without their state."""
    from appliance.units import show_instant

    return {
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "login": person.login,
        "role": str(person.role),
        "team": person.team,
        "created_at": show_instant(person.created_at),
    }


def shown(one: Listed) -> dict[str, Any]:
    """Somebody as `users list --json` shows them."""
    return {
        **plain(one.person),
        "groups": list(one.groups),
        "state": one.state,
        "shut_out": one.shut_out or None,
        "second_factors": list(one.second_factors),
        "sources": list(one.sources),
    }


def row(one: Listed) -> list[str]:
    """Somebody on one line of a terminal."""
    state = "team shut out" if one.shut_out == "team" else one.state
    who, groups = one.person, ", ".join(one.groups)
    return [short(who.email, _ADDRESS), short(who.login, _LOGIN), who.role, short(groups, _GROUPS), state]


def short(text: str, width: int) -> str:
    """A text that fits."""
    return text if len(text) <= width else text[: width - 1] + "…"


def facts(person: Person, groups: list[str]) -> dict[str, str | bool]:
    """What the audit log keeps of a new account: nothing that would outlive its removal but the login."""
    return {"role": str(person.role), "groups": " ".join(groups), "password": bool(person.password)}


def welcome(opened: Session, person: Person) -> list[str]:
    """What to say of a new account."""
    from appliance.accounts import suspension

    lines = [f"{person.name} has an account as {person.role}; keys, budgets and records call them '{person.login}'."]
    count = len(suspension.keys_of(opened, suspension.USER, person.login))
    if count:
        lines.append(f"Mind that {keys_in_words(count)} of that name came first: see `appliance keys list`.")
    if not person.password:
        lines.append(f"They have no password yet. To send them a link: appliance users invite {person.email}")
    return lines


def keys_in_words(count: int) -> str:
    """`1 key`, `3 keys`."""
    return counted(count, "key")


def counted(count: int, thing: str) -> str:
    """So many of a thing: `1 document`, `3 documents`."""
    return f"1 {thing}" if count == 1 else f"{count} {thing}s"
