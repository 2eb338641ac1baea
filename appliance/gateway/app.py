"""The gateway's routes, and its start and end as an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import orjson

from appliance.deployment import Deployment, Engine
from appliance.errors import ApplianceError
from appliance.gateway import batch_routes, file_routes
from appliance.gateway.batch_routes import BATCHES
from appliance.gateway.box import Box
from appliance.gateway.chat import ask
from appliance.gateway.endpoints import ENDPOINTS
from appliance.gateway.file_routes import FILES
from appliance.gateway.metrics_route import metrics
from appliance.gateway.openapi import Published
from appliance.gateway.refusals import refused
from appliance.gateway.switchboard import Target
from appliance.http.asgi import Receive, Request, Scope, Send, respond
from appliance.http.errors import JSON
from appliance.http.routes import Access, Route, Router
from appliance.policy.grants import may_use, permit
from appliance.policy.routing import AUTO, SEARCH_ROLES

BoxFactory = Callable[[], AbstractAsyncContextManager[Box]]
_MODELS = "/v1/models"


def routes(box: Box) -> tuple[Route, ...]:
    """Every address of the gateway."""
    table = [
        *(Route("POST", one.path, Access.KEY, partial(ask, one, box), one.about, one.dialect) for one in ENDPOINTS),
        Route("GET", _MODELS, Access.KEY, partial(models, box)),
        Route("GET", f"{_MODELS}/{{id}}", Access.KEY, partial(model, box)),
        Route("GET", "/metrics", Access.KEY, partial(metrics, box)),
        Route("POST", FILES, Access.KEY, partial(file_routes.upload, box)),
        Route("GET", FILES, Access.KEY, partial(file_routes.listed, box)),
        Route("GET", f"{FILES}/{{id}}", Access.KEY, partial(file_routes.one, box)),
        Route("DELETE", f"{FILES}/{{id}}", Access.KEY, partial(file_routes.delete, box)),
        Route("GET", f"{FILES}/{{id}}/content", Access.KEY, partial(file_routes.content, box)),
        Route("POST", BATCHES, Access.KEY, partial(batch_routes.create, box)),
        Route("GET", BATCHES, Access.KEY, partial(batch_routes.listed, box)),
        Route("GET", f"{BATCHES}/{{id}}", Access.KEY, partial(batch_routes.one, box)),
        Route("POST", f"{BATCHES}/{{id}}/cancel", Access.KEY, partial(batch_routes.cancel, box)),
        Route("GET", "/health", Access.ANYBODY, health),
        Route("GET", "/ready", Access.ANYBODY, partial(ready, box)),
    ]
    # It is the same on every box and tells nothing of this one, so programs that read it need no key.
    about = "What the API takes and answers, as an OpenAPI 3.1 document."
    table.append(Route("GET", "/openapi.json", Access.ANYBODY, Published(table), about))
    return tuple(table)


async def models(box: Box, request: Request, send: Send) -> None:
    """The models that are served and that the key may use, in OpenAI's shape; for the chat page all that converse."""
    principal = box.credentials.resolve(request.credential(), request.peer)
    permit(principal, "models", ())
    served = box.switchboard.now
    if principal.by_chat_page:
        # The page keeps one list for everybody, the one that it got last, and offers all of it to talk to. So it is
        # the same for whoever comes by it, and they are refused what they may not use once they ask for it.
        data = [_model(name, engine) for engine, name in _to_talk_to(served.deployment, near_only=box.cloud.is_off)]
    else:
        near_only = bool(served.cloud) and box.cloud.refusal(principal, request.scope["headers"]) is not None
        data = [
            _model(name, engine)
            for engine in served.deployment.engines
            for name in engine.names
            if may_use(principal, (name, engine.model)) and not (engine.provider and near_only)
        ]
    # One that stands for the others: who may use any of them may leave the choice to the rule.
    if served.router.roles(principal.models).large and may_use(principal, (AUTO, *(str(one["id"]) for one in data))):
        data.insert(0, _model(AUTO, None))
    await respond(send, request, 200, orjson.dumps({"object": "list", "data": data}), JSON)


async def model(box: Box, request: Request, send: Send) -> None:
    """One of the models that are served, if the key may use it."""
    principal = box.credentials.resolve(request.credential(), request.peer)
    name = request.scope["path"].removeprefix(f"{_MODELS}/")
    engine, _ = box.switchboard.now.route(name)
    permit(principal, "models", (name, engine.model))
    await respond(send, request, 200, orjson.dumps(_model(name, engine)), JSON)


def _to_talk_to(deployment: Deployment, *, near_only: bool) -> Iterator[tuple[Engine, str]]:
    """The engines for conversations, with each of their names."""
    for engine in deployment.engines:
        if engine.role not in SEARCH_ROLES and not (engine.provider and near_only):
            yield from ((engine, name) for name in engine.names)


def _model(name: str, engine: Engine | None) -> dict[str, str | int | None]:
    served_by = engine.model if engine else None
    return {"id": name, "object": "model", "created": 0, "owned_by": "appliance", "served_by": served_by}


async def health(request: Request, send: Send) -> None:
    """200 as long as this process answers."""
    await respond(send, request, 200, b'{"status":"ok"}', JSON)


async def ready(box: Box, request: Request, send: Send) -> None:
    """200 when the ledger takes rows and every engine is up, or held while it is exchanged; else 503 and why.

    Besides: `serial` of the deployment that is served, how many requests are `busy` on each of its
    engines, and how many are on engines that are `leaving`, since they are no longer served.
    """
    served = box.switchboard.now
    states = dict(await asyncio.gather(*map(_state, served.targets())))
    for part, check in (("ledger", box.ledger.check), ("audit", box.audit.check)):
        try:
            check()
            states[part] = "ready"
        except ApplianceError as error:
            states[part] = error.code
    good = all(state in ("ready", "held") for state in states.values())
    said = {
        "ready": good,
        "parts": states,
        "serial": served.deployment.serial,
        "busy": {role: client.busy for role, client in served.clients.items()},
        "leaving": box.switchboard.leaving,
    }
    await respond(send, request, 200 if good else 503, orjson.dumps(said), JSON)


async def _state(target: Target) -> tuple[str, str]:
    """An engine's role, and whether it answers."""
    engine, client = target
    if engine.held:
        return engine.role, "held"
    return engine.role, "ready" if await client.ready() else "not ready"


class Application:
    """The ASGI application: opens its box at start-up, closes it at the end, routes in between."""

    def __init__(self, open_box: BoxFactory) -> None:
        self._open_box = open_box
        self._router: Router | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            assert self._router is not None
            await self._router(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._open_box() as box:
            self._router = Router(routes(box), partial(refused, box), doors=box.doors)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
