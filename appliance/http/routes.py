"""The route table: every route declares who may call it, and every answer carries a request id."""

from __future__ import annotations

import itertools
import secrets
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum

from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.http.asgi import DisconnectedError, Receive, Request, Scope, Send
from appliance.http.errors import respond_error

Handler = Callable[[Request, Send], Awaitable[None]]


class Access(StrEnum):
    """Who may call a route: anybody who reaches the port, or holders of an API key."""

    ANYBODY = "anybody"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Route:
    """One address: method, path, who may call it, and what answers."""

    method: str
    path: str
    access: Access
    handler: Handler


class Router:
    """An ASGI application over a fixed table of routes."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        self._table = {(route.method, route.path): route for route in routes}
        # Random once, then counted: ids must be unique, not secret, and a system call each is not free.
        self._id_prefix = f"req-{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._paths = {route.path for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request = Request(scope, receive, f"{self._id_prefix}{next(self._numbers):08x}")
        try:
            await self._find(scope).handler(request, send)
        except DisconnectedError:
            return
        except ApplianceError as error:
            note("refused", request.id, code=error.code, path=scope["path"])
            await respond_error(send, request.id, error)
        except Exception:  # noqa: BLE001 - the outermost frame: whatever arrives here is a bug, and says so
            note("bug", request.id, path=scope["path"], trace=traceback.format_exc())
            # Where an answer has begun the server takes no second one: it raises, and cuts the connection.
            await respond_error(send, request.id, _internal(request.id))

    def _find(self, scope: Scope) -> Route:
        route = self._table.get((scope["method"], scope["path"]))
        if route is not None:
            return route
        if scope["path"] in self._paths:
            raise ApplianceError(
                "method-not-allowed",
                f"{scope['path']} does not take {scope['method']}.",
                "See docs/reference/api.md for the methods.",
            )
        raise ApplianceError("route-not-found", f"There is nothing at {scope['path'][:200]}.", "The API is below /v1.")


def _internal(request_id: str) -> ApplianceError:
    return ApplianceError(
        "internal", "Something went wrong inside the appliance.", f"Give your admin this number: {request_id}."
    )
