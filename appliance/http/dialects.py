"""How a family of clients speaks: where its key stands, what its errors look like, what it calls a request's id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import orjson

from appliance.errors import ApplianceError


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way of speaking HTTP. `error` makes the JSON body of an error with a request's id.

    `key_header` is where a bare key may stand besides `Authorization: Bearer`, and `id_header` what
    carries the request's id besides `x-request-id`; both empty where there is no other.
    """

    name: str
    error: Callable[[ApplianceError, str], bytes]
    key_header: bytes = b""
    id_header: bytes = b""


def openai_error(error: ApplianceError, request_id: str) -> bytes:
    """OpenAI's shape, with the next step as part of the message and on its own."""
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


def anthropic_error(error: ApplianceError, request_id: str) -> bytes:
    """Anthropic's shape; our code and the field at fault stand beside what its clients read."""
    return orjson.dumps(
        {
            "type": "error",
            "error": {
                "type": _ANTHROPIC_TYPES.get(error.kind.http, "api_error"),
                "message": f"{error.sentence} {error.hint}",
                "code": error.code,
                "param": error.param,
            },
            "request_id": request_id,
        }
    )


def oauth_error(error: ApplianceError, request_id: str) -> bytes:
    """The shape of OAuth 2 (RFC 6749, 5.2); our code and the request's id stand beside it."""
    return orjson.dumps(
        {
            "error": "invalid_request" if (error.kind.http or 500) < 500 else "server_error",
            "error_description": f"{error.sentence} {error.hint}",
            "code": error.code,
            "request_id": request_id,
        }
    )


_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}

OPENAI: Final = Dialect("openai", openai_error)
ANTHROPIC: Final = Dialect("anthropic", anthropic_error, key_header=b"x-api-key", id_header=b"request-id")
OAUTH: Final = Dialect("oauth", oauth_error)
