"""Errors as HTTP answers, in the words of whoever asked."""

from __future__ import annotations

from appliance.errors import ApplianceError
from appliance.http.asgi import Header, Request, Send, respond

JSON = b"application/json"


async def respond_error(send: Send, request: Request, error: ApplianceError) -> None:
    """Answer with an error."""
    extra: list[Header] = list(error.headers)
    if error.retry_after_s is not None:
        extra.append((b"retry-after", b"%d" % error.retry_after_s))
    if error.kind.http == 401:
        extra.append((b"www-authenticate", b"Bearer"))
    await respond(send, request, error.kind.http or 500, request.dialect.error(error, request.id), JSON, extra)
