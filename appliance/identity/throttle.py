"""Who may try a password now: limits that slow guessing down, and that nobody can use to lock others out (pure).

What counts is who tries, not whom they try for: an address and a network together, and a network as a whole. A browser
in which that person has signed in before is counted by itself: whatever others do, it may try.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

# Wrong tries within the window, after which there is a wait.
OF_ACCOUNT: Final = 5
OF_NETWORK: Final = 60
OF_DEVICE: Final = 10
WINDOW_S: Final = 15 * 60.0
# Counters that are kept: whoever comes from more networks than that is no single guesser.
_MOST: Final = 50_000


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who tries: from which network, for which e-mail address, and by which known device, empty for an unknown one."""

    network: str
    email: str
    device: str = ""


class Throttle:
    """Counts wrong tries. All times are seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[tuple[str, str, str], list[float]] = OrderedDict()

    def wait_s(self, attempt: Attempt, now: float) -> float:
        """How long until this try is allowed; 0 when it is."""
        return max(self._left(key, most, now) for key, most in _counters(attempt))

    def wrong(self, attempt: Attempt, now: float) -> None:
        """Count a wrong try."""
        for key, most in _counters(attempt):
            tries = [at for at in self._wrong.pop(key, []) if at > now - WINDOW_S]
            self._wrong[key] = [*tries, now][-most:]
        while len(self._wrong) > _MOST:
            self._wrong.popitem(last=False)

    def right(self, attempt: Attempt) -> None:
        """Forget the wrong tries of who got it right; those of the whole network stay."""
        for key, _ in _counters(attempt):
            if key[0] != "network":
                self._wrong.pop(key, None)

    def _left(self, key: tuple[str, str, str], most: int, now: float) -> float:
        tries = [at for at in self._wrong.get(key, []) if at > now - WINDOW_S]
        return tries[-most] + WINDOW_S - now if len(tries) >= most else 0.0


def network_of(address: str | None) -> str:
    """What one household or office is seen as: an IPv4 address, or the first half of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((int(found), 64), strict=False))
    return str(found)


def _counters(attempt: Attempt) -> tuple[tuple[tuple[str, str, str], int], ...]:
    """What a try counts for, and how many wrong ones that takes."""
    if attempt.device:
        return ((("device", attempt.device, attempt.email), OF_DEVICE),)
    return (
        (("account", attempt.network, attempt.email), OF_ACCOUNT),
        (("network", attempt.network, ""), OF_NETWORK),
    )
