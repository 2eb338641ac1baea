"""What passkeys are made for: the host that a browser shows, as its issuer says (pure)."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.parse import urlsplit

# How somebody proved who they are who has a passkey (RFC 8176): they hold a key, and its device knows them.
MEANS: Final = "pop user"


def id_of(issuer: str) -> str:
    """The host that passkeys belong to; empty where browsers make none: for a bare address, or without https."""
    parts = urlsplit(issuer)
    host = parts.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host if parts.scheme == "https" or host == "localhost" else ""
    return ""
