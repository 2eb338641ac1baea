"""The few ASGI pieces that a request needs: headers, a bounded body, an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from appliance.errors import ApplianceError
from appliance.units import show_bytes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]


class DisconnectedError(Exception):
    """The client hung up before its request was complete."""


class Request:
    """One HTTP request. `id` is ours, and every answer carries it."""

    __slots__ = ("_receive", "id", "scope")

    def __init__(self, scope: Scope, receive: Receive, id: str) -> None:
        self.scope = scope
        self.id = id
        self._receive = receive

    def header(self, name: bytes) -> str | None:
        """A header's value by its lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return None

    @property
    def peer(self) -> str | None:
        """The address that the connection itself comes from, whatever a header says; None where it has none."""
        client = self.scope.get("client")
        return client[0] if client else None

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises body-too-large as soon as it is, and DisconnectedError."""
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise _too_large(limit)
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            piece = message.get("body", b"")
            size += len(piece)
            if size > limit:
                raise _too_large(limit)
            if not message.get("more_body", False):
                return piece if not pieces else b"".join([*pieces, piece])
            pieces.append(piece)

    async def until_gone(self) -> None:
        """Return when the client hangs up. Only after the body has been read."""
        message = await self._receive()
        assert message["type"] == "http.disconnect", "the body was read, so nothing else can come"


def _too_large(limit: int) -> ApplianceError:
    return ApplianceError(
        "body-too-large",
        f"The request body is over the limit of {show_bytes(limit)}.",
        "Send less, or let the admin raise gateway.max_body.",
    )


async def respond(
    send: Send, request_id: str, status: int, body: bytes, content_type: bytes, extra: Iterable[Header] = ()
) -> None:
    """Send a whole answer at once."""
    await start(send, request_id, status, content_type, [(b"content-length", b"%d" % len(body)), *extra])
    await send({"type": "http.response.body", "body": body})


async def start(send: Send, request_id: str, status: int, content_type: bytes, extra: Iterable[Header] = ()) -> None:
    """Send an answer's head; its body follows piece by piece."""
    headers = [(b"content-type", content_type), (b"x-request-id", request_id.encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
