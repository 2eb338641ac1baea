"""What another provider's word is good for: its answers and tokens, whom it vouches for, which groups follow (pure).

A token says who somebody is only if all of it is right: who made it, whom it is for, when, and that it answers the very
request that this browser began. An address counts only where the provider has verified it and may vouch for its domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.errors import ApplianceError
from appliance.policy import names

# Signatures that only the provider can make. Never `none`, and never one that is made with what we know ourselves.
ALGORITHMS: Final = ("RS256", "ES256", "PS256")
KEY_TYPES: Final = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC"}
# Seconds by which its clock may differ from ours, and the oldest token that still answers a request of now.
LEEWAY_S: Final = 120
_OLDEST_S: Final = 900
_LATEST_S: Final = 1e12
_MOST_GROUPS: Final = 10_000
_LONGEST_SUBJECT: Final = 255


@dataclass(frozen=True, slots=True)
class Upstream:
    """Another provider, as the settings have it. `groups` maps its groups to ours."""

    name: str
    label: str
    issuer: str
    client_id: str
    secret_file: str
    domains: tuple[str, ...]
    role: str
    scopes: tuple[str, ...]
    groups_claim: str
    groups: dict[str, str]
    ca_file: str | None = None

    def redirect(self, issuer: str) -> str:
        """Where it sends people back to: an address of its own, so that none answers for another."""
        return f"{issuer}/sign-in/from/{self.name}"


@dataclass(frozen=True, slots=True)
class Vouched:
    """Somebody whom a source has proved. `source` and `subject` together never mean anybody else.

    `address` is empty where the source does not vouch for it. `groups` are those of ours that follow from theirs.
    `domains` are those that it vouches for, `role` is for those who are new.
    """

    source: str
    subject: str
    address: str
    name: str
    groups: frozenset[str]
    domains: frozenset[str]
    role: str


def check_answer(upstream: Upstream, fields: Mapping[str, list[str]], *, names_itself: bool) -> str:
    """The code that it answers with. `names_itself`: it has announced that it does so (RFC 9207).

    Raises provider-refused.
    """
    if any(len(values) != 1 for values in fields.values()):
        raise refused(upstream.name, "it answered with a field twice")
    one = {name: values[0] for name, values in fields.items()}
    if one.get("iss", upstream.issuer) != upstream.issuer or (names_itself and "iss" not in one):
        raise refused(upstream.name, "the answer is another provider's")
    if "error" in one:
        raise refused(upstream.name, f"it said {plain(one['error'])}")
    if not one.get("code"):
        raise refused(upstream.name, "it answered without a code")
    return one["code"]


def check_token(
    upstream: Upstream, claims: Mapping[str, Any], nonce: str, now_s: float, *, again: bool = False
) -> None:
    """Raises provider-refused unless an id token, its signature checked, answers our request.

    `again`: it must say that they have proved just now who they are.
    """
    for wrong, is_so in (
        ("is another issuer's", claims.get("iss") != upstream.issuer),
        ("is for somebody else", not _is_for(upstream.client_id, claims)),
        ("has expired", not now_s - LEEWAY_S < _time(claims, "exp")),
        ("is not from now", not now_s - _OLDEST_S <= _time(claims, "iat") <= now_s + LEEWAY_S),
        ("is not valid yet", "nbf" in claims and not _time(claims, "nbf") <= now_s + LEEWAY_S),
        ("answers another request", claims.get("nonce") != nonce),
        ("is of an older proof", again and not now_s - _OLDEST_S <= _time(claims, "auth_time") <= now_s + LEEWAY_S),
        ("names nobody", not _subject(claims)),
    ):
        if is_so:
            raise refused(upstream.name, f"its id token {wrong}")


def vouched(upstream: Upstream, claims: Mapping[str, Any]) -> Vouched:
    """Whom a checked token means."""
    domains = domains_of(upstream.domains)
    address = _address(claims.get("email")) if _is_verified(claims) else ""
    name = claims.get("name")
    return Vouched(
        source=upstream.issuer,
        subject=_subject(claims),
        address=address if address.rpartition("@")[2] in domains else "",
        name=display_name(name if isinstance(name, str) else ""),
        groups=mapped(upstream.groups, _groups(claims, upstream.groups_claim)),
        domains=domains,
        role=upstream.role,
    )


def domains_of(written: tuple[str, ...]) -> frozenset[str]:
    """Domains in the form in which addresses have them."""
    return frozenset(_address(f"x@{one}").rpartition("@")[2] for one in written) - {""}


def mapped(mapping: Mapping[str, str], theirs: set[str]) -> frozenset[str]:
    """Those of our groups that somebody is in who is in these of theirs."""
    return frozenset(ours for their, ours in mapping.items() if their in theirs)


def display_name(text: str) -> str:
    """A name from elsewhere as we can keep it; empty where we cannot."""
    try:
        return names.display_name(text)
    except ApplianceError:
        return ""


def plain(text: str) -> str:
    """What somebody else says, short and printable."""
    return "".join(one if one.isprintable() and one.isascii() else "?" for one in text[:80])


def refused(name: str, why: str) -> ApplianceError:
    """The error for an answer that is not to be trusted; `why` goes on after 'Signing in with NAME failed:'."""
    return ApplianceError(
        "provider-refused",
        f"Signing in with {name} failed: {why}.",
        f"Try again. If it stays so: appliance sign-in check {name}",
    )


def _is_for(client_id: str, claims: Mapping[str, Any]) -> bool:
    """Whether a token is for us: for us alone, or for several of which we are the one who asked."""
    audience, party = claims.get("aud"), claims.get("azp")
    if party is not None and party != client_id:
        return False
    if isinstance(audience, list):
        return client_id in audience and (len(audience) == 1 or party == client_id)
    return bool(audience == client_id)


def _is_verified(claims: Mapping[str, Any]) -> bool:
    """Whether the provider has checked the address. Entra has no `email_verified`, and says it by `xms_edov`."""
    if "email_verified" in claims:
        return claims["email_verified"] is True
    owned = claims.get("xms_edov")
    return owned is True or owned in ("1", "true", "True") or (type(owned) is int and owned == 1)


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    return subject if isinstance(subject, str) and 0 < len(subject) <= _LONGEST_SUBJECT else ""


def _address(said: Any) -> str:
    try:
        return names.email(said) if isinstance(said, str) else ""
    except ApplianceError:
        return ""


def _groups(claims: Mapping[str, Any], where: str) -> set[str]:
    """The names of their groups; none where the claim is missing or is no list of texts."""
    found: Any = claims.get(where)
    if found is None:
        found = claims
        for part in where.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    listed = [found] if isinstance(found, str) else found if isinstance(found, list) else []
    return {one for one in listed[:_MOST_GROUPS] if isinstance(one, str)}


def _time(claims: Mapping[str, Any], name: str) -> float:
    """A time in seconds since 1970; where it is none, not a number, which is neither before nor after anything."""
    found = claims.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or abs(found) >= _LATEST_S:
        return float("nan")
    return float(found)
