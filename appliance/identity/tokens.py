"""What stands in tokens, and how long they live (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

# Seconds.
CODE_S: Final = 60
ACCESS_S: Final = 30 * 60
ID_S: Final = 60 * 60
FAMILY_S: Final = 30 * 86_400
DEVICE_S: Final = 10 * 60
LOGOUT_S: Final = 120

SCOPES: Final = ("openid", "profile", "email", "groups", "offline_access")
# Everybody is in it, so that nobody's groups are empty: clients take an empty list for "leave the groups as they were".
EVERYONE: Final = "everyone"
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, slots=True)
class Who:
    """A person as tokens tell of them. `sub` is an id that is never given to anybody else."""

    sub: str
    login: str
    name: str
    email: str
    role: str
    groups: tuple[str, ...] = ()
    language: str = ""


def about(who: Who, scope: str) -> dict[str, Any]:
    """What a client may know of a person (OpenID Connect Core 5.1); roles and groups always."""
    asked = scope.split()
    found: dict[str, Any] = {"sub": who.sub, **access_of(who)}
    if "profile" in asked:
        found |= {"name": who.name, "preferred_username": who.login}
        if who.language:
            found["locale"] = who.language
    if "email" in asked:
        # An admin vouches for the address; clients that know people by it insist on that.
        found |= {"email": who.email, "email_verified": True}
    return found


def access_of(who: Who | None) -> dict[str, list[str]]:
    """Roles and groups, never empty; without a person those of a program."""
    if who is None:
        return {"roles": ["service"], "groups": [EVERYONE]}
    return {"roles": [who.role], "groups": sorted({EVERYONE, *who.groups})}


def logout_claims(issuer: str, client_id: str, sub: str, sid: str, jti: str, now_s: int) -> dict[str, Any]:
    """A logout token (OpenID Connect Back-Channel Logout 2.4); without a `sid` it is for all that the person has.

    It has no nonce, lest it pass for an id token.
    """
    return {
        "iss": issuer,
        "aud": client_id,
        "sub": sub,
        **({"sid": sid} if sid else {}),
        "jti": jti,
        "iat": now_s,
        "exp": now_s + LOGOUT_S,
        "events": {_LOGOUT_EVENT: {}},
    }
