"""End what is under way for somebody who may have nothing any more: switched off, signed out, their key taken back."""

from __future__ import annotations

import asyncio
import traceback
from typing import Final

from appliance.accounts.resolve import Credentials
from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.http.asgi import Request
from appliance.policy.principals import Principal

# Between two looks at whether a command has changed the database, and how long it is taken to be as it was at most.
_LOOK_S: Final = 0.2
_AT_LEAST_S: Final = 10.0
_AFTER_FAILURE_S: Final = 1.0
# What ends an answer that has begun. A key that has only expired was good when it was asked with.
_ENDS: Final = frozenset({"key-refused", "suspended"})


class Doorkeeper:
    """Knows for whom something is under way, from the credential to the end of the answer."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._inside: dict[Request, Principal] = {}

    def enter(self, request: Request, principal: Principal) -> None:
        """Look after a request, whose credential was good a moment ago in this turn of the event loop."""
        self._inside[request] = principal

    def leave(self, request: Request) -> None:
        """It has been answered."""
        del self._inside[request]

    async def keep(self) -> None:
        """Look again and again. A failure is put on record, and the next look tries anew."""
        loop = asyncio.get_running_loop()
        seen, looked = b"", 0.0
        while True:
            # The mark first: what is read after it is at least as new.
            mark, now, pause_s = self._credentials.mark(), loop.time(), _LOOK_S
            if mark != seen or now > looked + _AT_LEAST_S:
                try:
                    await self.look()
                    seen, looked = mark, now
                except Exception:  # noqa: BLE001 - the outermost frame of a task: whatever arrives here must not end it
                    note("bug", "", task="doorkeeper", trace=traceback.format_exc())
                    pause_s = _AFTER_FAILURE_S
            await asyncio.sleep(pause_s)

    async def look(self) -> None:
        """Ask once for each credential that something is under way for, with others in between."""
        known: dict[tuple[str, str | None], ApplianceError | None] = {}
        for request, principal in list(self._inside.items()):
            asked = (principal.key_id, request.peer)
            if asked not in known:
                known[asked] = self._why_not(*asked)
                await asyncio.sleep(0)
            why = known[asked]
            if why is not None and request.ended is None and request in self._inside:
                request.end(why)

    def _why_not(self, key_id: str, address: str | None) -> ApplianceError | None:
        """Why nothing may go on for a credential; None where it may."""
        try:
            self._credentials.resolve_key(key_id, address)
        except ApplianceError as error:
            return error if error.code in _ENDS else None
        return None
