"""A connection to a provider: what `engine.connection` does, with limits for a far side that is not ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, Protocol
from urllib.parse import urlsplit

from appliance.cloud.failures import Failures
from appliance.cloud.switch import is_off
from appliance.engine.connection import Connection
from appliance.policy.cloud import switched_off
from appliance.units import MIB

# Seconds until the switch is looked at again while an answer is awaited.
LOOK_S: Final = 0.5
# No honest answer is larger.
_MOST_BYTES: Final = 64 * MIB
_CONNECT_S: Final = 10.0
_MOST_TUNNEL_HEAD: Final = 16 * 1024
_LONGEST_RETRY_S: Final = 3600


class Reader(Protocol):
    """Turns what a provider sends into the stream that the gateway knows."""

    def feed(self, piece: bytes) -> bytes:
        """What has become complete."""

    def end(self) -> bytes:
        """The rest, at the end of the stream."""


class CloudConnection(Connection):
    """One connection to a provider. `begin` before each question says how its answer is to be read.

    An answer ends at once when the switch is turned off, and when the provider has been silent for too long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.content_type = ""
        self.retry_after_s: int | None = None
        self._failures = Failures("")
        self._silence_s = 0.0
        self._switch = ""
        self._reader: Reader | None = None
        self._taken = 0
        self._ended = False
        self._heard_at = 0.0

    def begin(self, failures: Failures, silence_s: float, switch: str) -> None:
        """Get ready for another question."""
        self._failures, self._silence_s, self._switch = failures, silence_s, switch
        self._reader, self._taken, self._ended = None, 0, False
        self._heard_at = asyncio.get_running_loop().time()

    def read_with(self, reader: Reader) -> None:
        """From now on `some` gives what this reader makes of the answer."""
        self._reader = reader

    async def some(self) -> bytes:
        """What the reader has made of the answer since the last call; empty once it is whole.

        Raises cloud-off, cloud-unavailable, cloud-failed and what else the reader raises.
        """
        while not self._ended:
            self._look()
            try:
                piece = await super().some()
            except OSError:
                self.close()
                raise self._failures.cut_off() from None
            self._taken += len(piece)
            if self._taken > _MOST_BYTES:
                self.close()
                raise self._failures.not_understood("far more than any answer has")
            self._ended = not piece
            made = self._read(piece)
            if made:
                return made
        return b""

    def _read(self, piece: bytes) -> bytes:
        if self._reader is None:
            return piece
        return self._reader.feed(piece) if piece else self._reader.end()

    async def _change(self) -> None:
        self._look()
        # Whoever waits looks again by itself, so waking it for nothing does no harm.
        with suppress(TimeoutError):
            async with asyncio.timeout(min(LOOK_S, self._silence_s)):
                await super()._change()

    def _look(self) -> None:
        """Raises cloud-off or cloud-unavailable, and cuts the connection."""
        if is_off(self._switch):
            self.close()
            raise switched_off()
        if asyncio.get_running_loop().time() - self._heard_at > self._silence_s:
            self.close()
            raise self._failures.silent(self._silence_s)

    # What the event loop and the parser tell.

    def data_received(self, data: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        super().data_received(data)

    def _await_head(self) -> None:
        super()._await_head()
        self.content_type, self.retry_after_s = "", None

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        name = name.lower()
        if name == b"content-type":
            self.content_type = value.decode("latin-1").partition(";")[0].strip().lower()
        elif name == b"retry-after" and value.strip().isdigit():
            self.retry_after_s = min(int(value[:9]), _LONGEST_RETRY_S)


def connector(url: str, proxy: str | None) -> Callable[[], Awaitable[CloudConnection]]:
    """What opens a connection to a provider, through an HTTP proxy if one is given. It raises OSError.

    The proxy is asked for a tunnel (CONNECT), so it sees where to, and nothing of what is said.
    """
    address = urlsplit(url)
    tls = ssl.create_default_context() if address.scheme == "https" else None
    host, port = address.hostname or "", address.port or (443 if tls else 80)
    # What stands on this machine is no business of a proxy.
    through = urlsplit(proxy) if proxy and tls else None

    async def connect() -> CloudConnection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            if through is not None and tls is not None:
                return await _tunnelled(through.hostname or "", through.port or 3128, host, port, tls)
            _, connection = await loop.create_connection(CloudConnection, host, port, ssl=tls)
        return connection

    return connect


class _Tunnel(asyncio.Protocol):
    """A connection to a proxy until the way through it is open."""

    def __init__(self, head: asyncio.Future[bytes]) -> None:
        self._head = head
        self._said = b""

    def data_received(self, data: bytes) -> None:
        self._said += data
        if not self._head.done() and (self._said.endswith(b"\r\n\r\n") or len(self._said) > _MOST_TUNNEL_HEAD):
            self._head.set_result(self._said)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._head.done():
            self._head.set_exception(ConnectionError("the proxy closed the connection"))


async def _tunnelled(proxy: str, proxy_port: int, host: str, port: int, tls: ssl.SSLContext) -> CloudConnection:
    """A connection through a proxy's tunnel. Raises OSError."""
    loop = asyncio.get_running_loop()
    head: asyncio.Future[bytes] = loop.create_future()
    # Streams would not do: they close the connection when they are let go of.
    transport, _ = await loop.create_connection(lambda: _Tunnel(head), proxy, proxy_port)
    try:
        there = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        transport.write(f"CONNECT {there} HTTP/1.1\r\nhost: {there}\r\n\r\n".encode("latin-1"))
        status = (await head).split(b" ", 2)[1:2]
        if status != [b"200"]:
            said = status[0][:3].decode("latin-1") if status else "no HTTP"
            raise ConnectionError(f"the proxy refuses the way to {host} ({said})")
        connection = CloudConnection()
        secure = await loop.start_tls(transport, connection, tls, server_hostname=host)
        if secure is None:
            raise ConnectionError("the proxy closed the connection")
        connection.connection_made(secure)
    except BaseException:
        transport.abort()
        raise
    return connection
