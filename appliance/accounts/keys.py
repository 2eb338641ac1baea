"""API keys as the admin handles them: made, listed, revoked."""

from __future__ import annotations

import secrets

from sqlmodel import Session, col, select

from appliance.accounts.resolve import PREFIX, digest
from appliance.accounts.tables import ApiKey
from appliance.errors import ApplianceError
from appliance.units import now_us


def create(session: Session, owner: str) -> tuple[ApiKey, str]:
    """A new key for an owner: its row, and the key itself, which is shown once and never stored."""
    if not owner.strip() or len(owner) > 200:
        raise ApplianceError(
            "wrong-use", "An owner's name has 1 to 200 characters.", "Use --owner NAME, for example --owner anna."
        )
    secret = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(id="key-" + secrets.token_hex(6), owner=owner.strip(), digest=digest(secret), created_at=now_us())
    session.add(key)
    session.flush()
    return key, secret


def listed(session: Session) -> list[ApiKey]:
    """All keys, oldest first."""
    return list(session.exec(select(ApiKey).order_by(col(ApiKey.created_at))))


def find(session: Session, key_id: str) -> ApiKey:
    """A key by its id. Raises key-not-found."""
    key = session.get(ApiKey, key_id)
    if key is None:
        raise ApplianceError("key-not-found", f"There is no key '{key_id}'.", "See the ids with `appliance keys list`.")
    return key


def revoke(key: ApiKey) -> None:
    """Revoke a key; once revoked it stays so."""
    if key.revoked_at is None:
        key.revoked_at = now_us()
