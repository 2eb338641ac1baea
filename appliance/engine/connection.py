"""HTTP/1.1 towards an engine: one connection asks one thing at a time, and its answer comes as it is read.

The parser is llhttp (httptools), as on the server's side. An engine sends each token as an HTTP chunk
of its own; a general client spends more on each chunk than all the rest of the request path together
(docs/decisions/0008).
"""

from __future__ import annotations

import asyncio
from typing import cast

import httptools

# The most that waits in memory of one answer whose reader is slow; beyond it the engine waits.
_MOST_UNREAD = 64 * 1024
# The most that an answer's head may be.
_MOST_HEAD = 64 * 1024


class EngineGoneError(ConnectionError):
    """The engine closed the connection, or sent what is no HTTP, before its answer was whole."""


class Connection(asyncio.Protocol):
    """One connection. `idle` once the last answer is whole and another may be asked for."""

    def __init__(self) -> None:
        self.status = 0
        self.idle = False
        self._transport: asyncio.Transport | None = None
        self._lost: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._pieces: list[bytes] = []
        self._unread = 0
        self._await_next()
        self._whole = True

    # What a caller does.

    async def ask(self, request: bytes) -> int:
        """Send a whole request; returns the status of its answer once the head is here. Raises OSError."""
        if self._transport is None or self._lost is not None:
            raise EngineGoneError("the connection is closed")
        self._await_next()
        self._transport.write(request)
        while not self._head_done:
            await self._change()
        return self.status

    async def some(self) -> bytes:
        """What has come of the answer since the last call; empty once it is whole. Raises OSError."""
        while not self._pieces:
            if self._whole:
                return b""
            await self._change()
        pieces = self._pieces
        self._pieces = []
        if self._unread > _MOST_UNREAD and self._transport is not None:
            self._transport.resume_reading()
        self._unread = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def read(self, most: int) -> bytes:
        """The rest of the answer, or its first `most` bytes. Raises OSError."""
        said = b""
        while len(said) < most and (piece := await self.some()):
            said += piece
        return said[:most]

    def close(self) -> None:
        """Cut the connection: what the engine has not finished, it stops."""
        self.idle = False
        if self._transport is not None:
            self._transport.abort()

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and self._lost is None and not self._transport.is_closing()

    async def _change(self) -> None:
        if self._lost is not None:
            raise EngineGoneError("the engine closed the connection") from self._lost
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _await_next(self) -> None:
        self.idle = False
        self._pieces = []
        self._unread = 0
        self._head_done = self._whole = False
        self._await_head()

    def _await_head(self) -> None:
        self._head_size = 0
        self._framed = self._encoded = False

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if self._whole:
            # Nobody asked for this.
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, EngineGoneError) as error:
            self._lost = error
            self.close()
        if self._unread > _MOST_UNREAD and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if self._head_done and not self._framed and error is None and self._lost is None:
            # Without a length, the end of the connection is the end of the answer.
            self._whole = True
        self._lost = self._lost or error or EOFError()
        self.idle = False
        self._wake()

    # What the parser tells.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value)
        if self._head_size > _MOST_HEAD:
            raise EngineGoneError("the head of an answer does not end")
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        elif name == b"content-encoding":
            self._encoded = value.strip().lower() != b"identity"

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            # Only a word in between ("100 Continue"): the answer's own head follows.
            return
        if self._encoded:
            raise EngineGoneError("a compressed answer, which was not asked for")
        self._head_done = True

    def on_body(self, data: bytes) -> None:
        self._pieces.append(data)
        self._unread += len(data)

    def on_message_complete(self) -> None:
        if self.status < 200:
            self._await_head()
            return
        self._whole = True
        self.idle = self._parser.should_keep_alive()
