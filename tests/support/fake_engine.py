"""An OpenAI-compatible engine that does what the last message, the prompt, the input or the query tells it.

    tokens=N     answer N tokens (8)
    think=N      think N tokens before (0)
    calls=N      call N tools after (0)
    length       say that the answer was cut off
    delay=MS     wait before each token (0)
    wait=MS      wait before the answer begins (0)
    drop=N       cut the connection after N tokens
    fail=N       report a failure as an event after N tokens
    status=CODE  refuse with an HTTP status
    context      refuse as llama-server does when the context is too small
    nousage      leave out the usage
    nodone       end the stream without [DONE]
    garbage      answer with bytes that are no HTTP
    cannot       have no such address
    nonsense     send an event that is no part of an answer

Prints its port and serves until it is ended. An argument is the name of the model that it says it is.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
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

    async def ask(self, request: web.Request) -> web.StreamResponse:
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
        orders = orders_in(body)
        await asyncio.sleep(number(orders, "wait", 0) / 1000)
        status = 404 if "cannot" in orders else number(orders, "status", 200)
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
        whole = ANSWERS[request.path](body, orders)
        return web.json_response(whole if "nousage" in orders else {"usage": usage, **whole})

    async def _stream(
        self, request: web.Request, orders: str, tokens: int, usage: dict[str, int]
    ) -> web.StreamResponse:
        chunk = text_chunk if request.path == COMPLETIONS else chat_chunk
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        if chunk is chat_chunk:
            await send(response, chunk({"role": "assistant", "content": ""}))
        for _ in range(number(orders, "think", 0)):
            await send(response, chunk({"reasoning_content": "hm "}))
        if "nonsense" in orders:
            await send(response, {"choices": [7]})
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
        for call in calls(number(orders, "calls", 0)):
            first, rest = {**call, "function": {**call["function"], "arguments": ""}}, call["function"]["arguments"]
            await send(response, chunk({"tool_calls": [first]}))
            await send(response, chunk({"tool_calls": [{"index": call["index"], "function": {"arguments": rest}}]}))
        if "nodone" in orders:
            return response
        await send(response, chunk({}, finish=why(orders)))
        if self.last.get("stream_options", {}).get("include_usage") and "nousage" not in orders:
            await send(response, {**chunk({}), "choices": [], "usage": usage})
        await response.write(b"data: [DONE]\n\n")
        return response


def orders_in(body: dict[str, Any]) -> str:
    """The text that says what to do."""
    if "messages" in body:
        return str(body["messages"][-1].get("content"))
    return str(body.get("prompt") or body.get("input") or body.get("query"))


def why(orders: str) -> str:
    """Why an answer ended."""
    return "length" if "length" in orders else "tool_calls" if number(orders, "calls", 0) else "stop"


def calls(many: int) -> list[dict[str, Any]]:
    """Calls of a tool."""
    function = {"name": "weather", "arguments": '{"city":"Ulm"}'}
    return [{"index": place, "id": f"call{place}", "type": "function", "function": function} for place in range(many)]


def completion(body: dict[str, Any], orders: str) -> dict[str, Any]:
    """A plain chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": "word " * number(orders, "tokens", 8)}
    if number(orders, "think", 0):
        message["reasoning_content"] = "hm " * number(orders, "think", 0)
    if number(orders, "calls", 0):
        message["tool_calls"] = calls(number(orders, "calls", 0))
    choice = {"index": 0, "message": message, "finish_reason": why(orders)}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": NAME, "choices": [choice]}


def text_completion(body: dict[str, Any], orders: str) -> dict[str, Any]:
    """A plain text completion."""
    choice = {"index": 0, "text": "word " * number(orders, "tokens", 8), "finish_reason": why(orders)}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": NAME, "choices": [choice]}


def embeddings(body: dict[str, Any], orders: str) -> dict[str, Any]:
    """A vector for each input."""
    inputs = body["input"] if isinstance(body["input"], list) and not isinstance(body["input"][0], int) else [0]
    data = [{"object": "embedding", "index": place, "embedding": [0.5, -0.5]} for place in range(len(inputs))]
    usage = {} if "nousage" in orders else {"usage": {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}}
    return {"object": "list", "model": NAME, "data": data, **usage}


def ranking(body: dict[str, Any], orders: str) -> dict[str, Any]:
    """The documents, the last one first."""
    places = list(reversed(range(len(body["documents"]))))[: body.get("top_n")]
    results = [{"index": place, "relevance_score": place / 10} for place in places]
    usage = {} if "nousage" in orders else {"usage": {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}}
    return {"object": "list", "model": NAME, "results": results, **usage}


def count(body: dict[str, Any], orders: str) -> dict[str, Any]:
    """How much there would be to read."""
    return {"input_tokens": PROMPT_TOKENS, "object": "response.input_tokens"}


COMPLETIONS = "/v1/completions"
ANSWERS: dict[str, Callable[[dict[str, Any], str], dict[str, Any]]] = {
    "/v1/chat/completions": completion,
    COMPLETIONS: text_completion,
    "/v1/embeddings": embeddings,
    "/v1/rerank": ranking,
    "/v1/chat/completions/input_tokens": count,
}


def number(orders: str, name: str, default: int) -> int:
    """The number that the orders give a name."""
    found = re.search(rf"\b{name}=(\d+)", orders)
    return int(found[1]) if found else default


def chat_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One chunk of a chat completion's stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": NAME, "choices": [choice]}


def text_chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """One chunk of a text completion's stream."""
    choice = {"index": 0, "text": delta.get("content", ""), "finish_reason": finish}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": NAME, "choices": [choice]}


async def send(response: web.StreamResponse, event: dict[str, Any]) -> None:
    """Send one event, compact as real engines do."""
    await response.write(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")


async def main() -> None:
    """Serve on a free port of the loopback."""
    engine = Engine()
    application = web.Application()
    for path in ANSWERS:
        application.router.add_post(path, engine.ask)
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
