"""Requests for an engine that is being exchanged wait here until the next one serves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

from appliance.engine.client import EngineClient
from appliance.errors import ApplianceError
from appliance.gateway.switchboard import Switchboard
from appliance.gateway.watch import Watchman
from appliance.http.asgi import DisconnectedError, Request
from appliance.units import show_duration

# Seconds that a request waits at most: large models take minutes to read from a slow disk.
HOLD_S: Final = 900.0

T = TypeVar("T")


async def unless_gone(watchman: Watchman, request: Request, waiting: Awaitable[T], name: str) -> T:
    """What is waited for, unless the client hangs up first. `name` is the model's.

    Raises DisconnectedError, what the request was ended for, and engine-unavailable when the gateway ends.
    """
    request.check()
    task = asyncio.current_task()
    assert task is not None
    hung_up = False

    def cancel() -> None:
        nonlocal hung_up
        if not hung_up:
            hung_up = True
            task.cancel()

    watch = watchman.watch(request, cancel)
    try:
        return await waiting
    except asyncio.CancelledError:
        task.uncancel()
        if hung_up:
            raise request.ended or DisconnectedError() from None
        # The server ends and cancels what is left: an answer still goes out.
        raise _over(name, "was waited for, and the gateway ends") from None
    finally:
        watch.close()


async def unheld(
    switchboard: Switchboard, watchman: Watchman, request: Request, name: str, most_s: float = HOLD_S
) -> EngineClient:
    """Wait until a public name is served by an engine that is not held, `most_s` seconds at most; its client.

    Nothing awaits between the routing and the return. Raises model-not-found when the name is no
    longer served, engine-unavailable when the time is over or the gateway ends, and
    DisconnectedError when the client hangs up.
    """

    async def serves() -> EngineClient:
        async with asyncio.timeout(most_s):
            return await _next(switchboard, name)

    try:
        return await unless_gone(watchman, request, serves(), name)
    except TimeoutError:
        raise _over(name, f"has not come back within {show_duration(round(most_s))}") from None


async def _next(switchboard: Switchboard, name: str) -> EngineClient:
    while True:
        engine, client = switchboard.now.route(name)
        if not engine.held:
            return client
        await switchboard.change()


def _over(name: str, what: str) -> ApplianceError:
    return ApplianceError(
        "engine-unavailable",
        f"The engine of '{name}' {what}.",
        "Try again in a moment; if it lasts, the admin sees the cause with `appliance status`.",
        retry_after_s=30,
    )
