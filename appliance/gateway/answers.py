"""The three ways to an answer: streamed to the client, put together here, or passed on whole.

Our own llama-server is always asked by stream: it notices a client that hangs up at once on
a stream, and under load never on a plain request. So is the cloud, whose clients turn what it
says into the same stream. Another server behind a URL is asked as the client asked.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import suppress

import orjson

from appliance.deployment import Engine
from appliance.engine.connection import Connection
from appliance.errors import ApplianceError
from appliance.gateway.assembly import Assembly
from appliance.gateway.events import DONE, Splitter, Tally, is_error, parsed
from appliance.gateway.failures import failure_of, refusal, stopped
from appliance.gateway.relay import Relay
from appliance.http.asgi import Send, respond, start
from appliance.http.errors import JSON, payload, respond_error
from appliance.policy.chat import ChatRequest

_SSE = b"text/event-stream; charset=utf-8"
# Proxies in front must pass each piece on as it comes.
_UNBUFFERED = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class Answer(ABC):
    """One answer on its way from an engine to a client.

    `take` reads the engine and sends all but the end, `finish` sends the end once the row is
    settled, `fail` sends an error in whatever form the client can still take.
    """

    asks_by_stream = True

    def __init__(self, wanted: ChatRequest, engine: Engine, request_id: str) -> None:
        self.tally = Tally()
        self.first_token_at: float | None = None
        self._request_id = request_id
        self._wanted = wanted
        self._engine = engine

    def upstream_body(self) -> bytes:
        """The request as the engine gets it."""
        fields = {**self._wanted.fields, "model": self._engine.upstream_model}
        if self.asks_by_stream:
            fields["stream"] = True
            fields["stream_options"] = {"include_usage": True}
            if self._engine.is_ours:
                fields["timings_per_token"] = True
        return orjson.dumps(fields)

    async def take(self, engine: Connection, send: Send) -> None:
        """Read the engine's answer. Raises engine-refused, engine-failed, engine-stopped and the like."""
        try:
            if engine.status != 200:
                raise await refusal(engine, self._engine)
            await self._take(engine, send)
        except OSError as error:
            raise stopped(self._engine) from error

    @abstractmethod
    async def _take(self, engine: Connection, send: Send) -> None: ...

    @abstractmethod
    async def finish(self, send: Send) -> None:
        """Send the end."""

    async def fail(self, send: Send, error: ApplianceError) -> None:
        """Send an error as an HTTP answer."""
        await respond_error(send, self._request_id, error)

    def _note_first(self) -> None:
        if self.first_token_at is None:
            self.first_token_at = time.monotonic()


class StreamedAnswer(Answer):
    """Server-sent events, passed on as they come."""

    def __init__(self, wanted: ChatRequest, engine: Engine, request_id: str) -> None:
        super().__init__(wanted, engine, request_id)
        self._relay = Relay(wanted.wants_usage)
        self.tally = self._relay.tally
        self._started = False

    async def _take(self, engine: Connection, send: Send) -> None:
        await start(send, self._request_id, 200, _SSE, _UNBUFFERED)
        self._started = True
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
        if not self._started:
            await super().fail(send, error)
            return
        event = b"data: " + payload(error, self._request_id) + b"\n\n"
        await send({"type": "http.response.body", "body": event})


class AssembledAnswer(Answer):
    """A plain answer, put together here from the engine's stream."""

    def __init__(self, wanted: ChatRequest, engine: Engine, request_id: str) -> None:
        super().__init__(wanted, engine, request_id)
        self._assembly = Assembly()
        self._done = False

    async def _take(self, engine: Connection, send: Send) -> None:
        splitter = Splitter()
        while data := await engine.some():
            self._note_first()
            for event in splitter.feed(data):
                self._add(event)
        for event in splitter.end():
            self._add(event)
        if not self._done:
            raise stopped(self._engine)

    def _add(self, event: bytes) -> None:
        if is_error(event):
            raise failure_of(event, self._engine)
        self._done = self._done or event == DONE
        chunk = parsed(event)
        if chunk is None:
            return
        if chunk.get("usage"):
            self.tally.usage(chunk["usage"])
        else:
            self.tally.count(event)
        self._assembly.add(chunk)

    async def finish(self, send: Send) -> None:
        tally = self.tally
        usage = {
            "prompt_tokens": tally.prompt,
            "completion_tokens": tally.completion,
            "total_tokens": tally.prompt + tally.completion,
            "prompt_tokens_details": {"cached_tokens": tally.cached},
        }
        await respond(send, self._request_id, 200, self._assembly.body(usage), JSON)


class PassedAnswer(Answer):
    """A plain answer of a server behind a URL, passed on as it is."""

    asks_by_stream = False
    _body = b""

    async def _take(self, engine: Connection, send: Send) -> None:
        pieces = []
        while data := await engine.some():
            pieces.append(data)
        self._body = b"".join(pieces)
        self._note_first()
        with suppress(orjson.JSONDecodeError, KeyError, TypeError):
            self.tally.usage(orjson.loads(self._body)["usage"])
        if not self.tally.exact:
            # An answer that cannot be metered is no answer.
            raise failure_of(b"an answer without usage", self._engine)

    async def finish(self, send: Send) -> None:
        await respond(send, self._request_id, 200, self._body, JSON)


def make_answer(wanted: ChatRequest, engine: Engine, request_id: str) -> Answer:
    """The way to this answer."""
    if wanted.streamed:
        return StreamedAnswer(wanted, engine, request_id)
    if engine.is_ours or engine.provider:
        return AssembledAnswer(wanted, engine, request_id)
    return PassedAnswer(wanted, engine, request_id)
