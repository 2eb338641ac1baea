"""How a request's dialect shows: where its key stands, what its errors look like, and its marks."""

from __future__ import annotations

import json

import pytest
from anthropic.types import ErrorResponse

from appliance.errors import KINDS, ApplianceError
from appliance.http.asgi import Header, Message, Request
from appliance.http.dialects import ANTHROPIC, OPENAI, Dialect


def request(*headers: Header, dialect: Dialect = OPENAI) -> Request:
    """A request with these headers."""

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    made = Request({"headers": list(headers)}, receive, "req-1")
    made.dialect = dialect
    return made


BEARER, KEY = (b"authorization", b"Bearer apl-1"), (b"x-api-key", b"apl-2")


@pytest.mark.parametrize(
    ("dialect", "headers", "credential"),
    [
        (OPENAI, (BEARER,), "Bearer apl-1"),
        (OPENAI, (KEY,), None),
        (OPENAI, (), None),
        (ANTHROPIC, (BEARER,), "Bearer apl-1"),
        (ANTHROPIC, (KEY,), "Bearer apl-2"),
        (ANTHROPIC, (KEY, BEARER), "Bearer apl-1"),
        (ANTHROPIC, (), None),
    ],
)
def test_where_a_key_may_stand(dialect: Dialect, headers: tuple[Header, ...], credential: str | None) -> None:
    assert request(*headers, dialect=dialect).credential() == credential


@pytest.mark.parametrize("code", [code for code, kind in KINDS.items() if kind.http])
def test_every_error_of_the_api_is_one_that_anthropics_client_knows(code: str) -> None:
    error = ApplianceError(code, "It failed.", "Try again.", param="model")
    said = json.loads(ANTHROPIC.error(error, "req-1"))
    if KINDS[code].http != 413:  # The API documents a type for this that its client's own list lacks.
        ErrorResponse.model_validate(said)
    assert said["error"]["type"] != "api_error" or KINDS[code].http >= 500
    assert (said["error"]["message"], said["error"]["code"]) == ("It failed. Try again.", code)
    assert json.loads(OPENAI.error(error, "req-1"))["error"]["code"] == code


@pytest.mark.parametrize("said", [b"a", b"a-B_c.9", b"x" * 128])
def test_a_clients_own_id_is_repeated(said: bytes) -> None:
    assert request((b"x-request-id", said)).marks() == [(b"x-request-id", b"req-1"), (b"x-client-request-id", said)]


@pytest.mark.parametrize("said", [b"", b"x" * 129, b"a b", b"a\r\nset-cookie: b", "ü".encode(), b"a/b", b"a\n"])
def test_an_id_that_is_none_is_not_repeated(said: bytes) -> None:
    assert request((b"x-request-id", said)).marks() == [(b"x-request-id", b"req-1")]


def test_anthropics_client_finds_our_id_where_it_looks() -> None:
    assert (b"request-id", b"req-1") in request(dialect=ANTHROPIC).marks()
