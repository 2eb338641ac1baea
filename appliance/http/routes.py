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
from appliance.http.dialects import OPENAI, Dialect
from appliance.http.errors import respond_error

Handler = Callable[[Request, Send], Awaitable[None]]


class Access(StrEnum):
    """Who may call a route: anybody who reaches the port, or holders of an API key."""

    ANYBODY = "anybody"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Route:
    """One address: method, path, who may call it, and what answers.

    A path that ends with `{id}` stands for all that are longer. `about` is for the manual; where it
    is empty, the handler's own words are.
    """

    method: str
    path: str
    access: Access
    handler: Handler
    about: str = ""
    dialect: Dialect = OPENAI


class Router:
    """An ASGI application over a fixed table of routes."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.routes = routes
        self._table = {(route.method, route.path): route for route in routes}
        # Random once, then counted: ids must be unique, not secret, and a system call each is not free.
        self._id_prefix = f"req-{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._dialects = {route.path: route.dialect for route in routes}
        self._open = tuple(route.path.removesuffix("{id}") for route in routes if route.path.endswith("{id}"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request = Request(scope, receive, f"{self._id_prefix}{next(self._numbers):08x}")
        try:
            await self._find(request).handler(request, send)
        except DisconnectedError:
            return
        except ApplianceError as error:
            note("refused", request.id, code=error.code, path=scope["path"])
            await respond_error(send, request, error)
        except Exception:  # noqa: BLE001 - the outermost frame: whatever arrives here is a bug, and says so
            note("bug", request.id, path=scope["path"], trace=traceback.format_exc())
            # Where an answer has begun the server takes no second one: it raises, and cuts the connection.
            await respond_error(send, request, _internal(request.id))

    def _find(self, request: Request) -> Route:
        method, path = request.scope["method"], request.scope["path"]
        route = self._table.get((method, path))
        if route is None:
            # Only what is in no table pays for this.
            shape = next((f"{start}{{id}}" for start in self._open if path.startswith(start) and path != start), path)
            route = self._table.get((method, shape))
            if route is None:
                request.dialect = self._dialects.get(shape, OPENAI)
                raise _nothing_here(method, path, [known for known, address in self._table if address == shape])
        request.dialect = route.dialect
        return route


def _nothing_here(method: str, path: str, allowed: list[str]) -> ApplianceError:
    """Why there is nothing at a path, which takes the methods that are `allowed`, for this method."""
    if allowed:
        return ApplianceError(
            "method-not-allowed",
            f"{path[:200]} does not take {method}.",
            "See docs/reference/api.md for the methods.",
            headers=((b"allow", ", ".join(allowed).encode()),),
        )
    return ApplianceError("route-not-found", f"There is nothing at {path[:200]}.", "The API is below /v1.")


def _internal(request_id: str) -> ApplianceError:
    return ApplianceError(
        "internal", "Something went wrong inside the appliance.", f"Give your admin this number: {request_id}."
    )
