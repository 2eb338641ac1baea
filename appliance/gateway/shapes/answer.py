"""The way to an answer in another API's shape: the engine is asked for a chat completion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from appliance.deployment import Engine
from appliance.engine.connection import Connection
from appliance.errors import ApplianceError
from appliance.gateway.answers import SSE, UNBUFFERED, ParsedAnswer, whole
from appliance.gateway.failures import failure_of
from appliance.gateway.shapes.parts import as_chunk
from appliance.gateway.shapes.shape import Shape
from appliance.http.asgi import Request, Send, respond, start
from appliance.http.errors import JSON
from appliance.policy.body import EngineRequest

# What only llama-server knows; other servers refuse a field that they do not.
_OURS: Final = ("chat_template_kwargs", "thinking_budget_tokens")


class ShapedAnswer(ParsedAnswer):
    """An answer whose events or whole are made here. All but the end goes out as it comes."""

    def __init__(
        self, wanted: EngineRequest, engine: Engine, request: Request, make: Callable[[EngineRequest, str, str], Shape]
    ) -> None:
        super().__init__(wanted, engine, request)
        self.asks_by_stream = wanted.streamed or engine.is_ours
        self._shape = make(wanted, engine.model, request.id)

    def _upstream_fields(self) -> dict[str, Any]:
        fields = super()._upstream_fields()
        if not self._engine.is_ours:
            return {name: value for name, value in fields.items() if name not in _OURS}
        if self._wanted.kept.get("stop_sequences"):
            # Only so does llama-server tell which of them it was that ended the answer.
            fields["verbose"] = True
        return fields

    async def _take(self, engine: Connection, send: Send) -> None:
        if self._wanted.streamed and not self.started:
            await start(send, self._request, 200, SSE, UNBUFFERED)
            self.started = True
        if self.asks_by_stream:
            await super()._take(engine, send)
        else:
            self._take_whole(await whole(engine))

    def _take_whole(self, body: bytes) -> None:
        self._note_first()
        try:
            completion = orjson.loads(body)
            self.tally.usage(completion.get("usage"))
            self._shape.add(as_chunk(completion))
        except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
            raise failure_of(b"an answer that is no chat completion", self._engine) from error
        if not self.tally.exact:
            # An answer that cannot be metered is no answer.
            raise failure_of(b"an answer without usage", self._engine)

    def _add(self, chunk: dict[str, Any]) -> bytes:
        made = self._shape.add(chunk)
        return made if self._wanted.streamed else b""

    async def finish(self, send: Send) -> None:
        if self._wanted.streamed:
            await send({"type": "http.response.body", "body": self._shape.end(self.tally)})
        else:
            await respond(send, self._request, 200, self._shape.whole(self.tally), JSON)

    async def fail(self, send: Send, error: ApplianceError) -> None:
        """Once events flow, an error is told by them."""
        if self.started:
            event = self._shape.failure(error, self._request.id)
            await send({"type": "http.response.body", "body": event})
        else:
            await super().fail(send, error)
