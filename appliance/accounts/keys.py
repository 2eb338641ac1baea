"""API keys as the admin handles them: made, listed, rotated, revoked."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, select

from appliance.accounts import suspension
from appliance.accounts.api_keys import PREFIX, digest
from appliance.accounts.people_tables import Person
from appliance.accounts.tables import ApiKey
from appliance.errors import ApplianceError
from appliance.ledger.usage import last_used
from appliance.policy import terms
from appliance.units import now_us, show_duration


@dataclass(frozen=True, slots=True)
class Listed:
    """A key as a list shows it. `state` is one of `STATES`; `used_at` in microseconds since 1970 UTC, None if never."""

    key: ApiKey
    state: str
    used_at: int | None


ACTIVE, REPLACED, SUSPENDED, EXPIRED, REVOKED = STATES = ("active", "replaced", "suspended", "expired", "revoked")


def create(
    session: Session,
    owner: str,
    *,
    team: str = "",
    models: Iterable[str] = (),
    endpoints: Iterable[str] = (),
    expires_at: int | None = None,
    addresses: Iterable[str] = (),
    priority: str = "api",
) -> tuple[ApiKey, str]:
    """A new key for an owner: its row, and the key itself, which is shown once and never stored.

    Without models, endpoints or addresses it is for all of them. Raises wrong-use.
    """
    return _add(
        session,
        owner=_owner(session, terms.name(owner, "owner")),
        team=terms.name(team, "team") if team else "",
        models=terms.models(tuple(models)),
        endpoints=terms.endpoints(tuple(endpoints)),
        addresses=terms.addresses(addresses),
        priority=terms.priority(priority),
        expires_at=expires_at,
    )


def rotate(session: Session, key: ApiKey, overlap_s: int, expires_at: int | None = None) -> tuple[ApiKey, str]:
    """A new key in an old one's place, with the same terms; the old one works for `overlap_s` seconds more.

    `expires_at` is the new key's where it is to differ. The old one never works longer than it would have. Raises
    wrong-use for a key that works no more, or has its successor already.
    """
    now = now_us()
    _must_work(key, now)
    same = key.model_dump(exclude={"id", "digest", "created_at", "successor"})
    if expires_at is not None:
        same["expires_at"] = expires_at
    fresh, secret = _add(session, **same)
    ends = now + overlap_s * 1_000_000
    key.expires_at = ends if key.expires_at is None else min(ends, key.expires_at)
    key.successor = fresh.id
    session.flush()
    return fresh, secret


def revoke(session: Session, key: ApiKey) -> None:
    """Revoke a key; once revoked it stays so."""
    if key.revoked_at is None:
        key.revoked_at = now_us()
        session.flush()


def find(session: Session, key_id: str) -> ApiKey:
    """A key by its id. Raises key-not-found."""
    key = session.get(ApiKey, key_id)
    if key is None:
        raise ApplianceError("key-not-found", f"There is no key '{key_id}'.", "See the ids with `appliance keys list`.")
    return key


def listed(session: Session) -> list[Listed]:
    """All keys, oldest first, with their states and when each was last used."""
    now = now_us()
    found = list(session.exec(select(ApiKey).order_by(col(ApiKey.created_at), col(ApiKey.id))))
    used = last_used(session, {key.id: key.created_at for key in found})
    shut_out = {(one.kind, one.name) for one in suspension.listed(session)}
    members = session.exec(select(Person.login, Person.team).where(Person.team != ""))
    shut_out |= {(suspension.USER, login) for login, team in members if (suspension.TEAM, team) in shut_out}
    return [Listed(key, state(key, suspended=is_suspended(key, shut_out), now=now), used.get(key.id)) for key in found]


def is_suspended(key: ApiKey, shut_out: set[tuple[str, str]]) -> bool:
    """Whether a key's owner or team is among those that are shut out, each as kind and name."""
    return bool({(suspension.USER, key.owner), (suspension.TEAM, key.team)} & shut_out)


def state(key: ApiKey, *, suspended: bool, now: int) -> str:
    """How a key is, as one of `STATES`: what shuts out for longest counts first. `now` in microseconds."""
    if key.revoked_at is not None:
        return REVOKED
    if key.expires_at is not None and key.expires_at <= now:
        return EXPIRED
    if suspended:
        return SUSPENDED
    return ACTIVE if key.successor is None else REPLACED


def works(key: ApiKey, now: int) -> bool:
    """Whether a key would be taken, its owner not being suspended."""
    return state(key, suspended=False, now=now) in (ACTIVE, REPLACED)


def in_words(one: Listed, now: int) -> str:
    """A key's state as a person reads it, at most 28 characters: `active`, `expires in 3 d 4 h`."""
    key = one.key
    if one.state in (EXPIRED, REPLACED) and key.successor is not None:
        return f"replaced by {key.successor}"
    if one.state == ACTIVE and key.expires_at is not None:
        return f"expires in {show_duration((key.expires_at - now) / 1e6)}"
    return one.state


def _add(session: Session, **agreed: Any) -> tuple[ApiKey, str]:
    """Store a new key with these terms; its row, and the key itself."""
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(id="key-" + secrets.token_hex(6), digest=digest(secret), created_at=now_us(), **agreed)
    session.add(key)
    session.flush()
    return key, secret


def _owner(session: Session, name: str) -> str:
    """An owner as they are on record: for somebody with an account their login, however it is typed. Raises wrong-use.

    A key of `Anna` would go on working once `anna` is shut out.
    """
    person = session.exec(select(Person).where(Person.login == name.casefold())).first()
    if person is not None and person.removed_at is not None:
        raise ApplianceError(
            "wrong-use",
            f"{person.login} had an account that was removed, so the name is given to nobody else.",
            "Choose another owner for the key.",
        )
    return name if person is None else person.login


def _must_work(key: ApiKey, now: int) -> None:
    if works(key, now) and key.successor is None:
        return
    why = "was revoked" if key.revoked_at is not None else "has expired"
    if key.successor is not None:
        why = f"was already replaced by {key.successor}"
    raise ApplianceError(
        "wrong-use",
        f"The key {key.id} {why}, so there is nothing to rotate.",
        f"Make a new one: appliance keys create --owner {key.owner}",
    )
