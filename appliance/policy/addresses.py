"""Which addresses a credential may be used from: networks as an admin writes them, and whether an address is in one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# IPv4 addresses as a socket shows them that takes IPv6 too.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def network(text: str) -> Network:
    """One network or address, such as `10.0.0.0/8`, `192.168.1.7` or `fd00::/8`. Raises ValueError, which says why."""
    if "%" in text:
        raise ValueError(f"'{text}' names an interface, which no key is bound to: leave out % and what follows")
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(_why(text)) from None
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        inside = int(found.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((inside, found.prefixlen - 96))
    return found


def networks(words: str) -> tuple[Network, ...]:
    """The networks of a list with a space between. Raises ValueError."""
    return tuple(network(word) for word in words.split())


def admits(allowed: Iterable[Network], address: str | None) -> bool:
    """Whether an address is in one of the networks. What is no address is in none."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in one for one in allowed)


def _why(text: str) -> str:
    """What is wrong with a network."""
    try:
        both = ipaddress.ip_interface(text)
    except ValueError:
        return f"'{text}' is no IP address and no network"
    return f"'{text}' is one address and a network at once: write {both.ip} or {both.network}"
