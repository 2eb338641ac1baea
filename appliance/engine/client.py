"""Talk HTTP to an engine: our own llama-server over its UNIX socket, or any server behind a URL."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiohttp
from yarl import URL

from appliance.deployment import Engine
from appliance.errors import ApplianceError

_RETRY_S = 0.1
# llama-server closes an idle connection after 5 s: let go of it first.
_KEEP_ALIVE_S = 4.0
_CONNECT_S = 5.0
# The most that waits in memory of one answer whose reader is slow; beyond it the engine waits.
_READ_BUFFER = 64 * 1024


class EngineClient:
    """One engine's HTTP client. Make it on the event loop that uses it."""

    def __init__(self, engine: Engine, wait_s: float) -> None:
        self.engine = engine
        self._wait_s = wait_s
        base = (engine.url or "http://engine/v1").rstrip("/")
        self._chat = URL(f"{base}/chat/completions")
        self._models = URL(f"{base}/models")
        self._headers = {"content-type": "application/json"}
        if engine.api_key_file:
            self._headers["authorization"] = f"Bearer {Path(engine.api_key_file).read_text().strip()}"
        self._session = aiohttp.ClientSession(
            connector=_connector(engine),
            # An answer may take as long as it takes; only reaching the engine has a limit.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            read_bufsize=_READ_BUFFER,
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("user-agent", "accept", "accept-encoding"),
        )

    async def chat(self, body: bytes) -> tuple[aiohttp.ClientResponse, float]:
        """Ask for a chat completion; returns once the answer's head is there, whatever its status,
        with the seconds that were spent waiting for an engine to come up.

        An engine that is starting (refuses connections, or answers 503) is asked again until
        `wait_s` is over. Raises engine-unavailable.
        """
        began = time.monotonic()
        deadline = began + self._wait_s
        waited = 0.0
        while True:
            try:
                response = await self._session.post(self._chat, data=body, headers=self._headers, allow_redirects=False)
            except (aiohttp.ClientError, TimeoutError) as error:
                # Nothing has been answered yet, so asking again repeats nothing.
                if time.monotonic() >= deadline:
                    raise _unavailable(self.engine) from error
            else:
                if response.status != 503 or time.monotonic() >= deadline:
                    return response, waited
                response.release()
            await asyncio.sleep(_RETRY_S)
            waited = time.monotonic() - began

    async def ready(self) -> bool:
        """Whether the engine answers now; it is asked for its list of models."""
        try:
            async with self._session.get(
                self._models, headers=self._headers, timeout=aiohttp.ClientTimeout(total=2.0)
            ) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()


def _connector(engine: Engine) -> aiohttp.BaseConnector:
    if engine.socket is not None:
        return aiohttp.UnixConnector(path=engine.socket, limit=0, keepalive_timeout=_KEEP_ALIVE_S)
    return aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S)


def _unavailable(engine: Engine) -> ApplianceError:
    return ApplianceError(
        "engine-unavailable",
        f"The engine of '{engine.model}' does not answer.",
        "Try again in a moment; if it lasts, the admin sees the cause with `appliance status`.",
        retry_after_s=5,
    )
