"""What a browser is asked for a passkey with: for which host it is, and that its device must know the person (pure).

Web Authentication Level 3, 5.4 and 5.5, in JSON: bytes are in base64url.
"""

from __future__ import annotations

import ipaddress
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

# How somebody proved who they are who has a passkey (RFC 8176): they hold a key, and its device knows them.
MEANS: Final = "pop user"
_WAIT_MS: Final = 120_000
# EdDSA, ECDSA and RSA with SHA-256: what browsers' passkeys have.
_ALGORITHMS: Final = (-8, -7, -257)


@dataclass(frozen=True, slots=True)
class Whose:
    """Whom a new passkey is for: their id, by which it names them, their address, and their name."""

    id: str
    email: str
    name: str


def id_of(issuer: str) -> str:
    """The host that passkeys belong to; empty where browsers make none: for a bare address, or without https."""
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host if parts.scheme == "https" or host == "localhost" else ""
    return ""


def to_sign_in(issuer: str, challenge: bytes) -> str:
    """What asks for any passkey for this host; empty where browsers make none."""
    host = id_of(issuer)
    if not host:
        return ""
    asked = {"challenge": _text(challenge), "rpId": host, "timeout": _WAIT_MS, "userVerification": "required"}
    return json.dumps(asked)


def to_add(issuer: str, challenge: bytes, whose: Whose, company: str, known: Iterable[str]) -> str:
    """What asks for a new passkey, on a device that holds none of the `known` ones."""
    host = id_of(issuer)
    if not host:
        return ""
    return json.dumps(
        {
            "rp": {"id": host, "name": company},
            "user": {"id": _text(whose.id.encode()), "name": whose.email, "displayName": whose.name},
            "challenge": _text(challenge),
            "pubKeyCredParams": [{"type": "public-key", "alg": one} for one in _ALGORITHMS],
            "timeout": _WAIT_MS,
            "attestation": "none",
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "excludeCredentials": [{"type": "public-key", "id": one} for one in known],
        }
    )


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
