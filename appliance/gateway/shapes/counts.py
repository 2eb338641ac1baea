"""The number of tokens that a request would have the engine read. Nothing is generated."""

from __future__ import annotations

from typing import Any

import orjson

from appliance.deployment import Engine
from appliance.engine.connection import Connection
from appliance.errors import ApplianceError
from appliance.gateway.answers import Answer, whole
from appliance.gateway.failures import failure_of
from appliance.http.asgi import Request, Send, respond
from appliance.http.errors import JSON
from appliance.policy.body import EngineRequest


class CountAnswer(Answer):
    """A count; `more` is what stands beside it."""

    asks_by_stream = False

    def __init__(self, wanted: EngineRequest, engine: Engine, request: Request, more: dict[str, Any]) -> None:
        super().__init__(wanted, engine, request)
        self._more = more
        self._tokens = 0

    async def _refusal(self, engine: Connection) -> ApplianceError:
        if self._engine.is_ours or engine.status not in (404, 405, 501):
            return await super()._refusal(engine)
        return cannot_count(self._engine)

    async def _take(self, engine: Connection, send: Send) -> None:
        try:
            self._tokens = int(orjson.loads(await whole(engine))["input_tokens"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise failure_of(b"no count", self._engine) from error

    async def finish(self, send: Send) -> None:
        said = {**self._more, "input_tokens": self._tokens}
        await respond(send, self._request, 200, orjson.dumps(said), JSON)


def cannot_count(engine: Engine) -> ApplianceError:
    """The refusal where nobody counts."""
    return ApplianceError(
        "engine-cannot-count",
        f"The engine of '{engine.model}' does not count tokens ahead of an answer.",
        "Reckon with a token for every four bytes, or ask a model that runs on this machine.",
        param="model",
    )
