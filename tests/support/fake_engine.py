"""An OpenAI-compatible engine that does what the last message tells it.

    tokens=N     answer N tokens (8)
    delay=MS     wait before each token (0)
    wait=MS      wait before the answer begins (0)
    drop=N       cut the connection after N tokens
    fail=N       report a failure as an event after N tokens
    status=CODE  refuse with an HTTP status
    context      refuse as llama-server does when the context is too small
    nousage      leave out the usage
    nodone       end the stream without [DONE]
    garbage      answer with bytes that are no HTTP

Prints its port and serves until it is ended. An argument is the name of the model that it says it is.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any

from aiohttp import web

PROMPT_TOKENS = 11
NAME = sys.argv[1] if len(sys.argv) > 1 else "fake"


class Engine:
    """Counts what it was asked, what it finished, and what was cancelled under its hands."""

    def __init__(self) -> None:
        self.asked = 0
        self.finished = 0
        self.cancelled = 0
        self.peers: set[Any] = set()
        self.last: dict[str, Any] = {}

    async def chat(self, request: web.Request) -> web.StreamResponse:
        self.last = await request.json()
        self.asked += 1
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        try:
            answer = await self._answer(request, self.last)
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        self.finished += 1
        return answer

    async def stats(self, _: web.Request) -> web.Response:
        seen = {"asked": self.asked, "finished": self.finished, "cancelled": self.cancelled, "last": self.last}
        return web.json_response({**seen, "connections": len(self.peers)})

    async def models(self, _: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": NAME, "object": "model"}]})

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        orders = body["messages"][-1]["content"]
        await asyncio.sleep(number(orders, "wait", 0) / 1000)
        status = number(orders, "status", 200)
        if status != 200:
            return web.json_response({"error": {"message": f"told to answer {status}", "type": "told"}}, status=status)
        if "context" in orders:
            kind = "exceed_context_size_error"
            return web.json_response({"error": {"message": "request exceeds the size", "type": kind}}, status=400)
        if "garbage" in orders:
            assert isinstance(request.transport, asyncio.Transport)
            request.transport.write(b"garbage\r\n\r\n")
            request.transport.abort()
            raise ConnectionResetError
        tokens = number(orders, "tokens", 8)
        usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": tokens, "total_tokens": PROMPT_TOKENS + tokens}
        if body.get("stream"):
            return await self._stream(request, orders, tokens, usage)
        await asyncio.sleep(tokens * number(orders, "delay", 0) / 1000)
        choice = {"index": 0, "message": {"role": "assistant", "content": "word " * tokens}, "finish_reason": "stop"}
        whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": NAME, "choices": [choice]}
        return web.json_response(whole if "nousage" in orders else {**whole, "usage": usage})

    async def _stream(
        self, request: web.Request, orders: str, tokens: int, usage: dict[str, int]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await send(response, chunk({"role": "assistant", "content": ""}))
        for place in range(tokens):
            if place == number(orders, "drop", -1):
                assert request.transport is not None
                request.transport.abort()
                raise ConnectionResetError
            if place == number(orders, "fail", -1):
                await send(response, {"error": {"message": "told to fail", "type": "server_error"}})
                return response
            await asyncio.sleep(number(orders, "delay", 0) / 1000)
            await send(response, chunk({"content": "word "}))
        if "nodone" in orders:
            return response
        await send(response, chunk({}, finish="stop"))
        if self.last.get("stream_options", {}).get("include_usage") and "nousage" not in orders:
            await send(response, {**chunk({}), "choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response


def number(orders: str, name: str, default: int) -> int:
    """The number that the orders give a name."""
    found = re.search(rf"\b{name}=(\d+)", orders)
    return int(found[1]) if found else default


def chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": NAME, "choices": [choice]}


async def send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    """Send one event, compact as real engines do."""
    await response.write(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")


async def main() -> None:
    """Serve on a free port of the loopback."""
    engine = Engine()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", engine.chat)
    application.router.add_get("/v1/models", engine.models)
    application.router.add_get("/stats", engine.stats)
    # handler_cancellation: a client that hangs up cancels its handler, as in a real engine.
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
