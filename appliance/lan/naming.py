"""The box's name on the network, as values: whether it is for us to make known, and what avahi-publish says (pure)."""

from __future__ import annotations

import re
from typing import Final, Literal

# Names that a network resolves without a server (RFC 6762); all others are the company's DNS's business.
_SUFFIX: Final = ".local"
_ESTABLISHED: Final = re.compile(r"Established under name '([^']*)'")
_COLLISION: Final = re.compile(r"collision", re.IGNORECASE)

Heard = Literal["", "known", "taken"]


def is_ours_to_tell(host: str, machine: str) -> bool:
    """Whether we make a name known. The machine's own one is made known by its system already."""
    return host.endswith(_SUFFIX) and host != f"{machine.partition('.')[0].lower()}{_SUFFIX}"


def heard(line: str, host: str) -> Heard:
    """What a line of avahi-publish means for our name: known to all, or somebody else's.

    On a collision it would go on under a name of its own making, which is of no use to us.
    """
    found = _ESTABLISHED.search(line)
    if found:
        return "known" if found[1].lower() == host else "taken"
    return "taken" if _COLLISION.search(line) else ""
