"""Talk to an engine: our own llama-server over its UNIX socket, or any server behind a URL."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from appliance.deployment import Engine
from appliance.engine.connection import Connection, EngineGoneError
from appliance.errors import ApplianceError

_RETRY_S = 0.1
# llama-server closes an idle connection after 5 s: let go of it first.
_KEEP_ALIVE_S = 4.0
_CONNECT_S = 5.0
_READY_S = 2.0
# What an engine can be asked, below its /v1.
PATHS: Final = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/rerank",
    "/chat/completions/input_tokens",
)
# This address of llama-server is not below /v1.
_FIGURES = b"GET /metrics HTTP/1.1\r\nhost: engine\r\n\r\n"


class EngineClient:
    """One engine, and the connections to it that wait for their next request. Use it on one event loop.

    `busy` is how many requests are on their way to it or being answered by it; whoever sends them counts them.
    """

    def __init__(self, engine: Engine, wait_s: float) -> None:
        self.engine = engine
        self.busy = 0
        self._wait_s = wait_s
        address = urlsplit((engine.url or "http://engine/v1").rstrip("/"))
        self._connect = _connector(engine, address)
        fields = [f"host: {address.netloc.rpartition('@')[2]}", "content-type: application/json"]
        if engine.api_key_file:
            fields.append(f"authorization: Bearer {_api_key(Path(engine.api_key_file))}")
        head = f"{address.path}%s HTTP/1.1\r\n" + "\r\n".join(fields) + "\r\n"
        self._heads = {path: f"POST {head % path}content-length: ".encode("latin-1") for path in PATHS}
        self._models = ("GET " + head % "/models" + "\r\n").encode("latin-1")
        self._idle: list[tuple[Connection, float]] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def ask(self, path: str, body: bytes, permit: object = None) -> tuple[Connection, float]:
        """Ask one of `PATHS`; returns the connection once the answer's head is there, whatever
        its status, with the seconds that were spent waiting for an engine to come up.

        The caller gives it back with `release`. An engine that is starting (refuses connections, or
        answers 503) is asked again until `wait_s` is over. Raises engine-unavailable. A `permit` is of no
        use here: only what leaves the box needs one (`cloud.client`).
        """
        request = b"%s%d\r\n\r\n%s" % (self._heads[path], len(body), body)
        began = time.monotonic()
        deadline = began + self._wait_s
        waited = 0.0
        while True:
            try:
                connection = await self._ask(request)
            except OSError as error:
                # Nothing has been answered yet, so asking again repeats nothing.
                if time.monotonic() >= deadline:
                    raise _unavailable(self.engine) from error
            else:
                if connection.status != 503 or time.monotonic() >= deadline:
                    return connection, waited
                self.release(connection)
            await asyncio.sleep(_RETRY_S)
            waited = time.monotonic() - began

    async def ready(self) -> bool:
        """Whether the engine answers now; it is asked for its list of models."""
        try:
            async with asyncio.timeout(_READY_S):
                connection = await self._ask(self._models)
                try:
                    while await connection.some():
                        pass
                finally:
                    self.release(connection)
        except OSError:  # A TimeoutError is one.
            return False
        return connection.status == 200

    async def figures(self, most_bytes: int) -> bytes | None:
        """What our own engine counts, in Prometheus' text format; None when it does not tell.

        It tells between two steps of its work, so it may keep silent for as long as one takes. Give up with
        asyncio.timeout: the connection is then cut.
        """
        try:
            connection = await self._ask(_FIGURES)
            try:
                said = await connection.read(most_bytes)
            finally:
                self.release(connection)
        except OSError:
            return None
        return said if connection.status == 200 else None

    def release(self, connection: Connection) -> None:
        """Take a connection back. One whose answer is not whole is cut: its engine stops working on it."""
        if self._closed or not connection.idle or not connection.is_open:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((connection, loop.time()))
        if self._sweep is None:
            self._sweep = loop.call_later(_KEEP_ALIVE_S, self._close_old)

    def close(self) -> None:
        """Close the connections that wait, and from now on each one as it is given back.

        Requests that have begun are answered all the same.
        """
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection, _ in self._idle:
            connection.close()
        self._idle.clear()

    def reopen(self) -> None:
        """Keep connections again."""
        self._closed = False

    async def _ask(self, request: bytes) -> Connection:
        idle = self._take_idle()
        if idle is not None:
            # llama-server closes a connection after each stream, maybe just as it is taken: that is no failure.
            with suppress(EngineGoneError):
                return await _asked(idle, request)
        return await _asked(await self._connect(), request)

    def _take_idle(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - _KEEP_ALIVE_S
        while self._idle:
            connection, since = self._idle.pop()
            if since > oldest and connection.is_open:
                return connection
            connection.close()
        return None

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - _KEEP_ALIVE_S
        while self._idle and self._idle[0][1] <= oldest:
            self._idle.pop(0)[0].close()
        self._sweep = loop.call_later(_KEEP_ALIVE_S, self._close_old) if self._idle else None


async def _asked(connection: Connection, request: bytes) -> Connection:
    try:
        await connection.ask(request)
    except BaseException:
        connection.close()
        raise
    return connection


def _connector(engine: Engine, address: SplitResult) -> Callable[[], Awaitable[Connection]]:
    tls = ssl.create_default_context() if address.scheme == "https" else None
    host, port = address.hostname or "", address.port or (443 if tls else 80)

    async def connect() -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            if engine.socket is not None:
                _, connection = await loop.create_unix_connection(Connection, engine.socket)
            else:
                _, connection = await loop.create_connection(Connection, host, port, ssl=tls)
        return connection

    return connect


def _api_key(path: Path) -> str:
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise _bad_key(path, str(error)) from error
    if not key.isascii() or not key.isprintable():
        raise _bad_key(path, "it holds more than one line of plain characters")
    return key


def _bad_key(path: Path, why: str) -> ApplianceError:
    return ApplianceError(
        "config-bad-value",
        f"The key file {path} cannot be used: {why}.",
        "Put the key alone into it, or mend `api_key_file`.",
    )


def _unavailable(engine: Engine) -> ApplianceError:
    return ApplianceError(
        "engine-unavailable",
        f"The engine of '{engine.model}' does not answer.",
        "Try again in a moment; if it lasts, the admin sees the cause with `appliance status`.",
        retry_after_s=5,
    )
