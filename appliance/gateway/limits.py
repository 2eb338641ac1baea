"""How many requests each key has under way. Counted in memory, with no await between check and hold."""

from __future__ import annotations

from appliance.errors import ApplianceError


class UnderWay:
    """Requests under way, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._count: dict[str, int] = {}

    def enter(self, key_id: str) -> None:
        """Hold a place for one request. Raises too-many-requests."""
        now = self._count.get(key_id, 0)
        if now >= self._most:
            raise ApplianceError(
                "too-many-requests",
                f"This key already has {now} requests under way, which is its limit.",
                "Wait for one to end, then send it again.",
                retry_after_s=1,
            )
        self._count[key_id] = now + 1

    def leave(self, key_id: str) -> None:
        """Give the place back."""
        left = self._count[key_id] - 1
        if left:
            self._count[key_id] = left
        else:
            del self._count[key_id]
