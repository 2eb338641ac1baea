"""Errors as OpenAI's clients expect them."""

from __future__ import annotations

import orjson

from appliance.errors import ApplianceError
from appliance.http.asgi import Header, Send, respond

JSON = b"application/json"


def payload(error: ApplianceError, request_id: str) -> bytes:
    """The JSON body: OpenAI's shape, with the next step as part of the message and on its own."""
    return orjson.dumps(
        {
            "error": {
                "message": f"{error.sentence} {error.hint}",
                "type": error.kind.type,
                "param": error.param,
                "code": error.code,
                "hint": error.hint,
                "request_id": request_id,
            }
        }
    )


async def respond_error(send: Send, request_id: str, error: ApplianceError) -> None:
    """Answer with an error."""
    extra: list[Header] = list(error.headers)
    if error.retry_after_s is not None:
        extra.append((b"retry-after", b"%d" % error.retry_after_s))
    if error.kind.http == 401:
        extra.append((b"www-authenticate", b"Bearer"))
    await respond(send, request_id, error.kind.http or 500, payload(error, request_id), JSON, extra)
