"""The route table: every route declares who may call it, and every answer carries a request id."""

from __future__ import annotations

import itertools
import secrets
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.http.asgi import DisconnectedError, Receive, Request, Scope, Send
from appliance.http.dialects import OPENAI, Dialect
from appliance.http.errors import respond_error
from appliance.store import maintenance

# Secrets are 43 characters and more; ids, and the names of our own addresses, have fewer.
_LONGEST_PART: Final = 40

# What is answered also while the appliance is updated: whether it is alive.
_ALWAYS: Final = ("/health", "/ready")
_WORD: Final = b"x-appliance-update"

Handler = Callable[[Request, Send], Awaitable[None]]
Refused = Callable[[Request, ApplianceError], Awaitable[None]]
AnswerError = Callable[[Send, Request, ApplianceError], Awaitable[None]]


class Access(StrEnum):
    """Who may call a route.

    Anybody who reaches the port; holders of an API key; programs that are registered for sign-on; whoever holds an
    access token; people who are signed in with their browser.
    """

    ANYBODY = "anybody"
    KEY = "key"
    CLIENT = "client"
    BEARER = "bearer"
    SIGNED_IN = "signed-in"


@dataclass(frozen=True, slots=True)
class Route:
    """One address: method, path, who may call it, and what answers.

    A path with `{id}` stands for all that begin and end like it and are longer. `about` is for the manual; where it
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

    def __init__(
        self,
        routes: tuple[Route, ...],
        refused: Refused | None = None,
        answer: AnswerError = respond_error,
        doors: Path | None = None,
    ) -> None:
        """`refused` hears of every refusal before it is answered; what it raises is answered instead, by `answer`.

        While the file `doors` is there, nobody is served but the update that made it.
        """
        self._doors = doors
        self.routes = routes
        self._answer = answer
        self._refused = refused
        self._table = {(route.method, route.path): route for route in routes}
        # Random once, then counted: ids must be unique, not secret, and a system call each is not free.
        self._id_prefix = f"req-{secrets.token_hex(8)}"
        self._numbers = itertools.count(1)
        self._dialects = {route.path: route.dialect for route in routes}
        # Those with something behind the id first: they are the more exact ones.
        shapes = {route.path: route.path.partition("{id}") for route in routes if "{id}" in route.path}
        self._open = sorted(((start, end, path) for path, (start, _, end) in shapes.items()), key=_by_end, reverse=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request = Request(scope, receive, f"{self._id_prefix}{next(self._numbers):08x}")
        try:
            route = self._find(request)
            if self._doors is not None and route.path not in _ALWAYS:
                maintenance.admit(self._doors, request.header(_WORD))
            await route.handler(request, send)
        except DisconnectedError:
            return
        except ApplianceError as error:
            await self._refuse(request, send, error)
        except Exception:  # noqa: BLE001 - the outermost frame: whatever arrives here is a bug, and says so
            note("bug", request.id, path=_shown(scope["path"]), trace=traceback.format_exc())
            # Where an answer has begun the server takes no second one: it raises, and cuts the connection.
            await self._refuse(request, send, _internal(request.id))

    async def _refuse(self, request: Request, send: Send, error: ApplianceError) -> None:
        note("refused", request.id, code=error.code, path=_shown(request.scope["path"]))
        try:
            if self._refused is not None:
                await self._refused(request, error)
        except ApplianceError as worse:
            error = worse
        await self._answer(send, request, error)

    def _find(self, request: Request) -> Route:
        method, path = request.scope["method"], request.scope["path"]
        route = self._table.get((method, path))
        if route is None:
            # Only what is in no table pays for this.
            shape = next((known for start, end, known in self._open if _fits(path, start, end)), path)
            route = self._table.get((method, shape))
            if route is None:
                request.dialect = self._dialects.get(shape, OPENAI)
                raise _nothing_here(method, path, [known for known, address in self._table if address == shape])
        request.dialect = route.dialect
        return route


def _shown(path: str) -> str:
    """A path as it may stand in a log: one-time links have their secret in it, and whatever is as long may be one."""
    return "/".join(part if len(part) <= _LONGEST_PART else "..." for part in path.split("/"))


def _fits(path: str, start: str, end: str) -> bool:
    return path.startswith(start) and path.endswith(end) and len(path) > len(start) + len(end)


def _by_end(shape: tuple[str, str, str]) -> int:
    return len(shape[1])


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
