"""The peer: the least that an ASGI process can do, passing requests on to an engine. No keys, no rules, no books.

    python -m bench.passthrough ENGINE_PORT PORT

What it costs on this machine at this moment is what the gateway's cost is to be read against.
"""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import uvicorn


class Passthrough:
    """An ASGI application in front of one engine."""

    def __init__(self, engine_port: int) -> None:
        self._url = f"http://127.0.0.1:{engine_port}"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        assert self._session is not None
        headers = {"content-type": "application/json"}
        url = self._url + scope["path"]
        async with self._session.request(scope["method"], url, data=body or None, headers=headers) as answer:
            head = [(b"content-type", answer.headers["content-type"].encode())]
            await send({"type": "http.response.start", "status": answer.status, "headers": head})
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    uvicorn.run(
        Passthrough(int(sys.argv[1])),
        port=int(sys.argv[2]),
        http="httptools",
        loop="uvloop",
        log_level="warning",
        access_log=False,
    )
