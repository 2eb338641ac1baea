"""How engines that share a processor share its cores: pure.

An engine's threads wait for each other at every step. Two engines with more threads than there are cores wait for
threads that are not running, and both all but stand still (docs/decisions/0021).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from appliance.engine.arguments import READERS

_READING_SHARE: Final = 2
_SMALL_SHARE: Final = 4


def threads(role: str, beside: Collection[str], cores: int) -> int:
    """Computing threads of a role's engine on so many cores, beside engines of other roles; at least one.

    The two that write answers never have more threads together than there are cores, but for a single core.
    """
    if role in READERS:
        return max(1, cores // _READING_SHARE)
    small = max(1, cores // _SMALL_SHARE)
    if role == "small":
        return small if "chat" in beside else cores
    return max(1, cores - small) if "small" in beside else cores
