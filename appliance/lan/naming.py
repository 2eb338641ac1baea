"""The box's name on the network, as values: whether it is for us to make known, and what avahi-publish says (pure)."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from typing import Final, Literal

# Names that a network resolves without a server (RFC 6762); all others are the company's DNS's business.
_SUFFIX: Final = ".local"
_ESTABLISHED: Final = re.compile(r"Established under name '([^']*)'")
_COLLISION: Final = re.compile(r"collision", re.IGNORECASE)

# Flags of an IPv6 address, as Linux has them: one of a random host part that changes, one that is being given up, and
# one that is not yet known to be nobody else's, or is somebody else's.
_TEMPORARY, _DEPRECATED, _TENTATIVE, _TAKEN = 0x01, 0x20, 0x40, 0x08
_EVERYWHERE: Final = "00"

Heard = Literal["", "known", "taken"]


def is_ours_to_tell(host: str, machine: str) -> bool:
    """Whether we make a name known. The machine's own one is made known by its system already."""
    return host.endswith(_SUFFIX) and host != f"{machine.partition('.')[0].lower()}{_SUFFIX}"


def lasting_ipv6(table: str, card: str) -> str:
    """The first IPv6 address of a network card that stays and that other networks know; empty where it has none.

    `table` is Linux's `/proc/net/if_inet6`. Addresses of the link alone are left out: with them goes the name of
    a card, which is another on each machine.
    """
    for line in table.splitlines():
        fields = line.split()
        if len(fields) != 6 or fields[3] != _EVERYWHERE or fields[5] != card:
            continue
        if not int(fields[4], 16) & (_TEMPORARY | _DEPRECATED | _TENTATIVE | _TAKEN):
            return str(IPv6Address(int(fields[0], 16)))
    return ""


def heard(line: str, host: str) -> Heard:
    """What a line of avahi-publish means for our name: known to all, or somebody else's.

    On a collision it would go on under a name of its own making, which is of no use to us.
    """
    found = _ESTABLISHED.search(line)
    if found:
        return "known" if found[1].lower() == host else "taken"
    return "taken" if _COLLISION.search(line) else ""
