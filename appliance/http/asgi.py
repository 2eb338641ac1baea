"""The few ASGI pieces that a request needs: headers, a bounded body, an answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from appliance.errors import ApplianceError
from appliance.http.dialects import OPENAI, Dialect
from appliance.units import show_bytes

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

# What is repeated of a client's own id: nothing that could end a header or fill a log.
_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


class DisconnectedError(Exception):
    """The client hung up before its request was complete."""


class Request:
    """One HTTP request. `id` is ours, and every answer carries it; `dialect` is its route's.

    `actor` is who it comes from, as far as is known; `told` are headers that its answer gets besides; `answering` is
    whether an answer has begun. `ended` says why nothing more may be done for it, once that is so; `stop` ends what is
    being done, while something is.
    """

    __slots__ = ("_receive", "actor", "answering", "dialect", "ended", "id", "scope", "stop", "told")

    def __init__(self, scope: Scope, receive: Receive, id: str) -> None:
        self.scope = scope
        self.id = id
        self.dialect: Dialect = OPENAI
        self.actor = ""
        self.answering = False
        self.told: list[Header] = []
        self.ended: ApplianceError | None = None
        self.stop: Callable[[], None] | None = None
        self._receive = receive

    def header(self, name: bytes) -> str | None:
        """A header's value by its lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return None

    def credential(self) -> str | None:
        """The `Authorization` header, or what stands for it in the request's dialect where there is none.

        Raises key-refused where it comes twice: then two readers might take different ones.
        """
        said = [value for name, value in self.scope["headers"] if name == b"authorization"]
        if len(said) > 1:
            raise ApplianceError("key-refused", "There are two Authorization headers.", "Send one.")
        if not said and self.dialect.key_header:
            key = self.header(self.dialect.key_header)
            return None if key is None else f"Bearer {key}"
        return str(said[0].decode("latin-1")) if said else None

    def end(self, why: ApplianceError) -> None:
        """Do nothing more for it. What is under way is stopped, and tells its client why."""
        self.ended = why
        if self.stop is not None:
            self.stop()

    def check(self) -> None:
        """Raises why nothing more may be done for it, once that is so."""
        if self.ended is not None:
            raise self.ended

    def marks(self) -> list[Header]:
        """The headers that say which request an answer belongs to: by our id, and by the client's own."""
        id = self.id.encode()
        marks = [(b"x-request-id", id)]
        if self.dialect.id_header:
            marks.append((self.dialect.id_header, id))
        said = self.header(b"x-request-id")
        if said is not None and _CLIENT_ID.fullmatch(said):
            marks.append((b"x-client-request-id", said.encode()))
        return marks

    @property
    def peer(self) -> str | None:
        """Whose address the request comes from; None where it has none.

        That of the connection itself, whatever a header says. Only what comes by our own UNIX socket is from our own
        proxy, as nobody else may open that: there the address that it puts last into X-Forwarded-For is the one.
        """
        if self.by_proxy:
            return (self.header(b"x-forwarded-for") or "").rpartition(",")[2].strip() or None
        client = self.scope.get("client")
        return client[0] if client else None

    @property
    def by_proxy(self) -> bool:
        """Whether it came by our own UNIX socket: then our end of the connection has a path, and no port."""
        server = self.scope.get("server")
        return server is not None and server[1] is None

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

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body piece by piece, as it comes. Raises DisconnectedError."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError
            more = message.get("more_body", False)
            yield message.get("body", b"")

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
    send: Send, request: Request, status: int, body: bytes, content_type: bytes, extra: Iterable[Header] = ()
) -> None:
    """Send a whole answer at once."""
    await start(send, request, status, content_type, [(b"content-length", b"%d" % len(body)), *extra])
    await send({"type": "http.response.body", "body": body})


async def start(send: Send, request: Request, status: int, content_type: bytes, extra: Iterable[Header] = ()) -> None:
    """Send an answer's head; its body follows piece by piece."""
    headers = [(b"content-type", content_type), *request.marks(), *request.told, *extra]
    request.answering = True
    await send({"type": "http.response.start", "status": status, "headers": headers})
