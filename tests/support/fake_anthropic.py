"""A server that speaks Anthropic's Messages API, and does what the last message tells it.

    tokens=N     answer N words (8)
    delay=MS     wait before each word (0)
    wait=MS      wait before the answer begins (0)
    status=CODE  refuse with an HTTP status, and repeat the key in the words
    overload=N   report overloaded_error as an event after N words
    badkey=N     report authentication_error with the key as an event after N words
    drop=N       cut the connection after N words
    nostop       end the stream without message_stop
    redirect     answer 307, with an address of this server that counts as asked
    html         answer 200 with a web page
    garbage      answer with bytes that are no HTTP
    noise        send an event that is not JSON
    tool         call a tool instead
    cached=N     say that so many tokens of the prompt came from the cache

Refuses with 401 what has no key or another than its own, and with 400 what the real API refuses. The first argument is
the key, a second and third the files of a certificate and its key. Prints its port and serves until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any

from aiohttp import web

from tests.support.fake_engine import number

PROMPT_TOKENS = 12
KEY = sys.argv[1] if len(sys.argv) > 1 else ""
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
_MORE_TYPES = {402: "billing_error", 413: "request_too_large", 429: "rate_limit_error", 529: "overloaded_error"}


class Api:
    """Counts what it was asked, what it finished, and what was cancelled under its hands."""

    def __init__(self) -> None:
        self.asked = 0
        self.elsewhere = 0
        self.finished = 0
        self.cancelled = 0
        self.last: dict[str, Any] = {}
        self.headers: dict[str, str] = {}

    async def messages(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        self.last = await request.json()
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            answer = await self._answer(request, self.last)
        except (asyncio.CancelledError, ConnectionResetError):
            self.cancelled += 1
            raise
        self.finished += 1
        return answer

    async def other(self, _: web.Request) -> web.Response:
        self.elsewhere += 1
        return web.Response(text="here")

    async def stats(self, _: web.Request) -> web.Response:
        seen = {"asked": self.asked, "finished": self.finished, "cancelled": self.cancelled, "last": self.last}
        return web.json_response({**seen, "elsewhere": self.elsewhere, "headers": self.headers})

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if request.headers.get("x-api-key") != KEY:
            return refusal(401, f"invalid x-api-key: {request.headers.get('x-api-key')}")
        wrong = complaint(body, request.headers.get("anthropic-version"))
        if wrong:
            return refusal(400, wrong)
        orders = " ".join(block.get("text", "") for block in body["messages"][-1]["content"])
        await asyncio.sleep(number(orders, "wait", 0) / 1000)
        status = number(orders, "status", 200)
        if status != 200:
            return refusal(status, f"told to answer {status} to {KEY}")
        if "redirect" in orders:
            raise web.HTTPTemporaryRedirect("/elsewhere")
        if "html" in orders:
            return web.Response(text="<html>Please log in</html>", content_type="text/html")
        if "garbage" in orders:
            assert isinstance(request.transport, asyncio.Transport)
            request.transport.write(b"garbage\r\n\r\n")
            request.transport.abort()
            raise ConnectionResetError
        return await self._stream(request, body, orders)

    async def _stream(self, request: web.Request, body: dict[str, Any], orders: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        cached = number(orders, "cached", 0)
        usage = {"input_tokens": PROMPT_TOKENS, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": body["model"]}
        start = {**message, "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
        await send(response, "message_start", message=start)
        if "tool" in orders:
            await call(response)
            return response
        await send(response, "content_block_start", index=0, content_block={"type": "text", "text": ""})
        await send(response, "ping")
        tokens = number(orders, "tokens", 8)
        for place in range(min(tokens, body["max_tokens"])):
            if await misbehave(request, response, orders, place):
                return response
            await asyncio.sleep(number(orders, "delay", 0) / 1000)
            await send(response, "content_block_delta", index=0, delta={"type": "text_delta", "text": "word "})
        await send(response, "content_block_stop", index=0)
        reason = "end_turn" if tokens <= body["max_tokens"] else "max_tokens"
        await end(response, reason, min(tokens, body["max_tokens"]), last="nostop" not in orders)
        return response


async def misbehave(request: web.Request, response: web.StreamResponse, orders: str, place: int) -> bool:
    """Do what the orders want at this word; returns whether the answer has ended with it."""
    if place == number(orders, "drop", -1):
        assert request.transport is not None
        request.transport.abort()
        raise ConnectionResetError
    if place == number(orders, "overload", -1):
        await send(response, "error", error={"type": "overloaded_error", "message": "Overloaded"})
        return True
    if place == number(orders, "badkey", -1):
        await send(response, "error", error={"type": "strange_error", "message": f"bad {KEY}"})
        return True
    if "noise" in orders and place == 1:
        await response.write(b"event: content_block_delta\ndata: {not json\n\n")
    return False


async def call(response: web.StreamResponse) -> None:
    """Call the tool `weather`, its arguments in pieces."""
    block = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    await send(response, "content_block_start", index=0, content_block=block)
    for piece in ("", '{"city":', '"Ulm"}'):
        await send(response, "content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": piece})
    await send(response, "content_block_stop", index=0)
    await end(response, "tool_use", 9)


async def end(response: web.StreamResponse, reason: str, tokens: int, *, last: bool = True) -> None:
    """The last events of an answer."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    await send(response, "message_delta", delta=delta, usage={"output_tokens": tokens})
    if last:
        await send(response, "message_stop")


async def send(response: web.StreamResponse, kind: str, **more: Any) -> None:
    """Send one event."""
    await response.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode())


def complaint(body: dict[str, Any], version: str | None) -> str | None:
    """What the real API would refuse."""
    unknown = set(body) - {
        "model", "max_tokens", "messages", "stream", "system", "temperature", "top_p", "top_k", "stop_sequences",
        "tools", "tool_choice",
    }  # fmt: skip
    if unknown:
        return f"{', '.join(sorted(unknown))}: Extra inputs are not permitted"
    if version != "2023-06-01":
        return "anthropic-version: header is required"
    if type(body.get("max_tokens")) is not int:
        return "max_tokens: Field required"
    if not 0 <= body.get("temperature", 0) <= 1:
        return "temperature: range: 0..1"
    if "temperature" in body and "top_p" in body:
        return "`temperature` and `top_p` cannot both be specified for this model"
    for message in body["messages"]:
        if message["role"] not in ("user", "assistant") or not message["content"]:
            return "messages: text content blocks must be non-empty"
    return None if body["messages"][0]["role"] == "user" else "messages: first message must use the user role"


def refusal(status: int, words: str) -> web.Response:
    """An error as the API writes it."""
    kind = {**_TYPES, **_MORE_TYPES}.get(status, "api_error")
    body = {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_1"}
    return web.json_response(body, status=status, headers={"retry-after": "17"} if status in (429, 529) else None)


async def main() -> None:
    """Serve on a free port of the loopback."""
    api = Api()
    application = web.Application()
    application.router.add_post("/v1/messages", api.messages)
    application.router.add_route("*", "/elsewhere", api.other)
    application.router.add_get("/stats", api.stats)
    runner = web.AppRunner(application, handler_cancellation=True, access_log=None)
    await runner.setup()
    secure = None
    if len(sys.argv) > 3:
        secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secure.load_cert_chain(sys.argv[2], sys.argv[3])
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secure)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
