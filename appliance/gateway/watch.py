"""Notice clients that hang up while they are being answered, and those that must not be answered any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from appliance.http.asgi import Request

# Seconds into an answer until its client is watched, at the latest.
_AFTER_S = 0.02


class Watch:
    """One client that is being answered. `gone` is called once it hangs up, or once its request is ended."""

    __slots__ = ("_gone", "_request", "_task", "_young")

    def __init__(self, young: set[Watch], request: Request, gone: Callable[[], None]) -> None:
        self._young = young
        self._request = request
        self._gone = gone
        self._task: asyncio.Task[None] | None = None
        request.stop = gone
        young.add(self)

    def begin(self) -> None:
        """Look from now on."""
        self._task = asyncio.create_task(self._look())

    def close(self) -> None:
        """Look no longer."""
        self._young.discard(self)
        self._request.stop = None
        if self._task is not None:
            self._task.cancel()

    async def _look(self) -> None:
        await self._request.until_gone()
        self._gone()


class Watchman:
    """Begins the watches of one event loop, all young ones at once and a little late.

    Most of what a watch costs is its beginning, and the quickest answers are over by then.
    """

    def __init__(self) -> None:
        self._young: set[Watch] = set()
        self._due = False

    def watch(self, request: Request, gone: Callable[[], None]) -> Watch:
        """Call `gone` when this request's client hangs up, or the request is ended, until the watch is closed."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(_AFTER_S, self._begin)
        return Watch(self._young, request, gone)

    def _begin(self) -> None:
        self._due = False
        for watch in self._young:
            watch.begin()
        self._young.clear()
