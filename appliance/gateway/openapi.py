"""The published description of the API: an OpenAPI 3.1 document from the rules that check the requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from appliance.config.version import VERSION
from appliance.errors import KINDS
from appliance.gateway.endpoints import ENDPOINTS, Endpoint
from appliance.http.asgi import Request, Send, respond
from appliance.http.dialects import ANTHROPIC, OPENAI, Dialect
from appliance.http.errors import JSON
from appliance.http.routes import Access, Route
from appliance.policy.rules import Schema

_Object = dict[str, Any]
_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_NAME: Final[Schema] = {"type": ["string", "null"]}
# What has OpenAI's own form of files and batches, or Prometheus': the manual has words for it, and it changes nothing
# that a model is asked.
_ELSEWHERE: Final = ("/v1/files", "/v1/batches", "/metrics")
_MODEL: Final[Schema] = {"$ref": "#/components/schemas/Model"}
# Statuses that come of reading a body and asking a model; where nothing is asked, these do not come.
_OF_A_BODY: Final = frozenset({400, 413, 429, 502, 503})


class Published:
    """Answers with the document of a table of routes, which is made when it is first asked for."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._made = b""

    async def __call__(self, request: Request, send: Send) -> None:
        """Answer one request."""
        self._made = self._made or orjson.dumps(document(self._routes))
        await respond(send, request, 200, self._made, JSON)


def document(routes: Iterable[Route]) -> _Object:
    """The OpenAPI document of these routes."""
    endpoints = {one.path: one for one in ENDPOINTS}
    paths: dict[str, _Object] = {}
    for route in routes:
        if route.path.startswith(_ELSEWHERE):
            continue
        endpoint = endpoints.get(route.path)
        operation = _ask(endpoint, route) if endpoint else _look(route)
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The private-AI appliance",
            "version": VERSION,
            "description": "A field that is not listed here is refused by name. Every answer carries an x-request-id. "
            "Files, batches and metrics have pages of their own in the manual.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": _failures(OPENAI) | _failures(ANTHROPIC),
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer apl-..."},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
        },
    }


def about(route: Route) -> str:
    """A route in one line: its own words, or else its handler's."""
    handler = getattr(route.handler, "func", route.handler)
    return route.about or " ".join((handler.__doc__ or "").split())


def _ask(endpoint: Endpoint, route: Route) -> _Object:
    """The operation of an address at which a model is asked."""
    body = {"schema": {"$ref": f"#/components/schemas/{_body_name(endpoint)}"}}
    content: _Object = {"application/json": {"schema": _ANSWERS[endpoint.name]}}
    if "stream" in endpoint.form.fields:
        # What its events are depends on their names; this version of OpenAPI has no words for that.
        content["text/event-stream"] = {}
    return {
        "operationId": endpoint.name,
        "summary": about(route),
        "security": _security(route),
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {"description": "The answer.", "headers": _headers(), "content": content},
            **_failed(route, _statuses()),
        },
    }


def _look(route: Route) -> _Object:
    """The operation of an address that is only read."""
    schema = _READ[route.path]
    ok = {"description": "The answer.", "headers": _headers(), "content": {"application/json": {"schema": schema}}}
    statuses = [status for status in _statuses() if status not in _OF_A_BODY]
    takes_id = route.path.endswith("{id}")
    if route.access is Access.ANYBODY:
        statuses = [500]
    elif not takes_id:
        statuses.remove(404)
    operation: _Object = {
        "operationId": f"get {route.path}",
        "summary": about(route),
        "security": _security(route),
        "responses": {"200": ok, **_failed(route, statuses)},
    }
    if route.path == "/ready":
        operation["responses"]["503"] = {**ok, "description": "Something is not ready."}
    if takes_id:
        id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        operation["parameters"] = [id]
    return operation


def _security(route: Route) -> list[_Object]:
    if route.access is Access.ANYBODY:
        return []
    bare = [{"x-api-key": list[str]()}] if route.dialect.key_header else []
    return [{"bearer": []}, *bare]


def _statuses() -> list[int]:
    """Every status with which a request for a known address and method can fail, lowest first."""
    return sorted({kind.http for kind in KINDS.values() if kind.http not in (0, 405)})


def _failed(route: Route, statuses: Iterable[int]) -> _Object:
    """References to the errors of these statuses, in the dialect of a route."""
    return {str(one): {"$ref": f"#/components/responses/{route.dialect.name}-{one}"} for one in statuses}


def _failures(dialect: Dialect) -> _Object:
    """What an error of each status looks like in a dialect, and which codes it may have."""
    made = {}
    for status in _statuses():
        codes = {code: kind.meaning for code, kind in KINDS.items() if kind.http == status}
        headers = _headers()
        if status == 401:
            headers |= _header("www-authenticate")
        if status in (429, 503):
            headers |= _header("retry-after")
        made[f"{dialect.name}-{status}"] = {
            "description": "\n".join(f"* `{code}`: {meaning}" for code, meaning in codes.items()),
            "headers": headers,
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{dialect.name}-error"}}},
        }
    return made


def _headers() -> _Object:
    return _header("x-request-id")


def _header(name: str) -> _Object:
    return {name: {"$ref": f"#/components/headers/{name}"}}


def _body_name(endpoint: Endpoint) -> str:
    """The name of a request's schema: that of the first address which takes the same."""
    same = next(one for one in ENDPOINTS if one.form is endpoint.form)
    return f"{same.name}-request"


def _schemas() -> _Object:
    """The shapes of requests, errors and a model."""
    bodies = {_body_name(one): one.form.schema for one in ENDPOINTS}
    return {**bodies, "openai-error": _OPENAI_ERROR, "anthropic-error": _ANTHROPIC_ERROR, "Model": _A_MODEL}


def _shape(**fields: Schema) -> Schema:
    """An object that has at least these fields."""
    return {"type": "object", "properties": fields, "required": list(fields)}


def _const(word: str) -> Schema:
    return {"const": word}


def _items(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


_HEADERS: Final[_Object] = {
    "x-request-id": {"description": "Our number of the request; usage rows have it too.", "schema": _TEXT},
    "retry-after": {"description": "When to come again, in seconds; not on every such answer.", "schema": _COUNT},
    "www-authenticate": {"description": "That a key is needed.", "schema": _TEXT},
}
_OPENAI_ERROR: Final = _shape(
    error=_shape(message=_TEXT, type=_TEXT, param=_NAME, code=_TEXT, hint=_TEXT, request_id=_TEXT)
)
_ANTHROPIC_ERROR: Final = _shape(
    type=_const("error"), error=_shape(type=_TEXT, message=_TEXT, code=_TEXT, param=_NAME), request_id=_TEXT
)
_A_MODEL: Final = _shape(id=_TEXT, object=_const("model"), created=_COUNT, owned_by=_TEXT, served_by=_NAME)
_CHOICES: Final = _items({"type": "object"})
_VECTOR: Final = _shape(index=_COUNT, embedding={"anyOf": [_items({"type": "number"}), _TEXT]})
# What an answer has at least, by the name of its endpoint; engines add to it.
_ANSWERS: Final[dict[str, Schema]] = {
    "chat": _shape(id=_TEXT, object=_const("chat.completion"), model=_TEXT, choices=_CHOICES),
    "chat.count": _shape(object=_const("response.input_tokens"), input_tokens=_COUNT),
    "completions": _shape(id=_TEXT, object=_const("text_completion"), model=_TEXT, choices=_CHOICES),
    "responses": _shape(id=_TEXT, object=_const("response"), status=_TEXT, output=_items({"type": "object"})),
    "responses.count": _shape(object=_const("response.input_tokens"), input_tokens=_COUNT),
    "messages": _shape(id=_TEXT, type=_const("message"), role=_TEXT, content=_items({"type": "object"})),
    "messages.count": _shape(input_tokens=_COUNT),
    "embeddings": _shape(object=_const("list"), data=_items(_VECTOR)),
    "rerank": _shape(results=_items(_shape(index=_COUNT, relevance_score={"type": "number"}))),
}
# What is only read, by its path.
_READ: Final[dict[str, Schema]] = {
    "/v1/models": _shape(object=_const("list"), data=_items(_MODEL)),
    "/v1/models/{id}": _MODEL,
    "/health": _shape(status=_const("ok")),
    "/ready": _shape(
        ready={"type": "boolean"}, parts={"type": "object"}, serial=_COUNT, busy={"type": "object"}, leaving=_COUNT
    ),
    "/openapi.json": _shape(openapi=_TEXT, info={"type": "object"}, paths={"type": "object"}),
}
