"""The ways to an answer: streamed to the client, put together here, or passed on whole.

Our own llama-server is always asked by stream: it notices a client that hangs up at once on
a stream, and under load never on a plain request. So is the cloud, whose clients turn what it
says into the same stream. Another server behind a URL is asked as the client asked.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

import orjson

from appliance.deployment import Engine
from appliance.engine.connection import Connection
from appliance.errors import ApplianceError
from appliance.gateway.assembly import Assembly, ChatAssembly, TextAssembly
from appliance.gateway.events import DONE, Splitter, Tally, is_error, parsed, usage_of
from appliance.gateway.failures import failure_of, refusal, stopped
from appliance.gateway.relay import Relay
from appliance.http.asgi import Request, Send, respond, start
from appliance.http.errors import JSON, respond_error
from appliance.policy.body import EngineRequest

SSE = b"text/event-stream; charset=utf-8"
# Proxies in front must pass each piece on as it comes.
UNBUFFERED = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class Answer(ABC):
    """One answer on its way from an engine to a client.

    `take` reads the engine and sends all but the end, `finish` sends the end once the row is
    settled, `fail` sends an error in whatever form the client can still take.
    """

    asks_by_stream = True
    # Whether a stream's head went out before it came to this answer, and the cap on its tokens that is not the asker's.
    started = False
    cap: int | None = None

    def __init__(self, wanted: EngineRequest, engine: Engine, request: Request) -> None:
        self.tally = Tally()
        self.first_token_at: float | None = None
        self._request = request
        self._wanted = wanted
        self._engine = engine

    def upstream_body(self) -> bytes:
        """The request as the engine gets it."""
        return orjson.dumps(self._upstream_fields())

    def _upstream_fields(self) -> dict[str, Any]:
        fields = {**self._wanted.fields, "model": self._engine.upstream_model}
        if self.cap is not None:
            fields["max_tokens"] = self.cap
        if self.asks_by_stream:
            fields["stream"] = True
            fields["stream_options"] = {"include_usage": True}
            if self._engine.is_ours:
                fields["timings_per_token"] = True
        return fields

    async def take(self, engine: Connection, send: Send) -> None:
        """Read the engine's answer. Raises engine-refused, engine-failed, engine-stopped and the like."""
        try:
            if engine.status != 200:
                raise await self._refusal(engine)
            await self._take(engine, send)
        except OSError as error:
            raise stopped(self._engine) from error

    async def _refusal(self, engine: Connection) -> ApplianceError:
        return await refusal(engine, self._engine, self._wanted.prompt)

    @abstractmethod
    async def _take(self, engine: Connection, send: Send) -> None: ...

    @abstractmethod
    async def finish(self, send: Send) -> None:
        """Send the end."""

    async def fail(self, send: Send, error: ApplianceError) -> None:
        """Send an error as an HTTP answer."""
        await respond_error(send, self._request, error)

    def _note_first(self) -> None:
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()
            self._request.answering = True


class StreamedAnswer(Answer):
    """Server-sent events, passed on as they come."""

    def __init__(self, wanted: EngineRequest, engine: Engine, request: Request, opening: int) -> None:
        super().__init__(wanted, engine, request)
        self._relay = Relay(wanted.wants_usage, opening)
        self.tally = self._relay.tally

    async def _take(self, engine: Connection, send: Send) -> None:
        if not self.started:
            await start(send, self._request, 200, SSE, UNBUFFERED)
            self.started = True
        while data := await engine.some():
            self._note_first()
            await self._pass(self._relay.feed(data), send)
        await self._pass(self._relay.end(), send)
        if not self._relay.done:
            raise stopped(self._engine)

    async def _pass(self, ready: bytes, send: Send) -> None:
        if ready:
            await send({"type": "http.response.body", "body": ready, "more_body": True})
        if self._relay.error is not None:
            raise failure_of(self._relay.error, self._engine)

    async def finish(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": self._relay.tail()})

    async def fail(self, send: Send, error: ApplianceError) -> None:
        """Once events flow, an error is one of them, and no `[DONE]` follows."""
        if not self.started:
            await super().fail(send, error)
            return
        event = b"data: " + self._request.dialect.error(error, self._request.id) + b"\n\n"
        await send({"type": "http.response.body", "body": event})


class ParsedAnswer(Answer):
    """An answer whose events are all looked at."""

    _done = False

    async def _take(self, engine: Connection, send: Send) -> None:
        splitter = Splitter()
        while data := await engine.some():
            self._note_first()
            await self._pass(splitter.feed(data), send)
        await self._pass(splitter.end(), send)
        if not self._done:
            raise stopped(self._engine)

    async def _pass(self, events: list[bytes], send: Send) -> None:
        ready = b"".join(map(self._read, events))
        if ready:
            await send({"type": "http.response.body", "body": ready, "more_body": True})

    def _read(self, event: bytes) -> bytes:
        if is_error(event):
            raise failure_of(event, self._engine)
        self._done = self._done or event == DONE
        chunk = parsed(event)
        if chunk is None:
            return b""
        if chunk.get("usage"):
            self.tally.usage(chunk["usage"])
        else:
            self.tally.count(event)
        try:
            return self._add(chunk)
        except (AttributeError, TypeError, ValueError) as error:
            raise failure_of(b"an event that is no part of an answer", self._engine) from error

    @abstractmethod
    def _add(self, chunk: dict[str, Any]) -> bytes:
        """Take a chunk; returns what may go out at once."""


class AssembledAnswer(ParsedAnswer):
    """A plain answer, put together here from the engine's stream."""

    def __init__(self, wanted: EngineRequest, engine: Engine, request: Request, assembly: Assembly) -> None:
        super().__init__(wanted, engine, request)
        self._assembly = assembly
        self.tally = Tally(assembly.opening)

    def _add(self, chunk: dict[str, Any]) -> bytes:
        self._assembly.add(chunk)
        return b""

    async def finish(self, send: Send) -> None:
        tally = self.tally
        usage = {
            "prompt_tokens": tally.prompt,
            "completion_tokens": tally.completion,
            "total_tokens": tally.prompt + tally.completion,
            "prompt_tokens_details": {"cached_tokens": tally.cached},
        }
        await respond(send, self._request, 200, self._assembly.body(usage), JSON)


class PassedAnswer(Answer):
    """A plain answer of an engine that was asked plainly, passed on as it is."""

    asks_by_stream = False
    _body = b""

    async def _take(self, engine: Connection, send: Send) -> None:
        self._body = await whole(engine)
        self._note_first()
        self.tally.usage(usage_of(self._body))
        if not self.tally.exact:
            # An answer that cannot be metered is no answer.
            raise failure_of(b"an answer without usage", self._engine)

    async def finish(self, send: Send) -> None:
        await respond(send, self._request, 200, self._body, JSON)


async def whole(engine: Connection) -> bytes:
    """All of an answer's body. Raises OSError."""
    pieces = []
    while data := await engine.some():
        pieces.append(data)
    return b"".join(pieces)


def chat_answer(wanted: EngineRequest, engine: Engine, request: Request) -> Answer:
    """The way to a chat completion."""
    if wanted.streamed:
        return StreamedAnswer(wanted, engine, request, ChatAssembly.opening)
    if engine.is_ours or engine.provider:
        return AssembledAnswer(wanted, engine, request, ChatAssembly())
    return PassedAnswer(wanted, engine, request)


def text_answer(wanted: EngineRequest, engine: Engine, request: Request) -> Answer:
    """The way to a text completion."""
    if wanted.streamed:
        return StreamedAnswer(wanted, engine, request, TextAssembly.opening)
    if engine.is_ours:
        return AssembledAnswer(wanted, engine, request, TextAssembly())
    return PassedAnswer(wanted, engine, request)
