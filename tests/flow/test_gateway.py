"""The gateway before a fake engine behind a URL: answers, refusals, hang-ups, failures; and the row of each."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

import openai
import pytest

from tests.support.box import Box, ask, wait_until
from tests.support.engines import FakeEngine
from tests.support.fake_engine import PROMPT_TOKENS


def client(box: Box, key: str, retries: int = 0) -> openai.OpenAI:
    """OpenAI's own client on a box."""
    return openai.OpenAI(base_url=f"http://127.0.0.1:{box.port}/v1", api_key=key, max_retries=retries)


def events(box: Box, key: str, body: dict[str, Any]) -> list[str]:
    """The data of each event of a stream."""
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=30)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {key}"})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    said = response.read().decode()
    connection.close()
    return [line.removeprefix("data: ") for line in said.split("\n\n") if line]


def test_the_official_client_gets_a_plain_answer_with_usage(served: Box) -> None:
    with client(served, served.key("anna")) as api:
        answer = api.chat.completions.create(model="chat", messages=[{"role": "user", "content": "tokens=5"}])
    assert answer.choices[0].message.content == "word " * 5
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, 5)
    row = served.rows()[0]
    assert (row["principal"], row["model"], row["outcome"]) == ("anna", "fake", "complete")
    assert (row["prompt_tokens"], row["completion_tokens"], row["exact"]) == (PROMPT_TOKENS, 5, True)
    assert row["started_at"] < row["settled_at"]


def test_the_official_client_gets_a_stream_with_usage(served: Box) -> None:
    with client(served, served.key()) as api:
        chunks = list(
            api.chat.completions.create(
                model="fake",
                messages=[{"role": "user", "content": "tokens=5"}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "word " * 5
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 5


def test_a_stream_that_asked_for_no_usage_is_metered_and_shows_none(served: Box) -> None:
    seen = events(served, served.key(), ask("tokens=3", stream=True))
    assert seen[-1] == "[DONE]"
    assert not any("usage" in event for event in seen)
    row = served.rows()[0]
    assert (row["completion_tokens"], row["prompt_tokens"], row["exact"]) == (3, PROMPT_TOKENS, True)


def test_typed_exceptions_of_the_official_client(served: Box) -> None:
    key = served.key()
    with client(served, "apl-wrong") as api, pytest.raises(openai.AuthenticationError) as refused:
        api.models.list()
    assert refused.value.code == "key-refused"
    with client(served, key) as api:
        with pytest.raises(openai.BadRequestError) as bad:
            api.chat.completions.create(model="chat", messages=[{"role": "user", "content": "x"}], temperature=-1)
        assert (bad.value.code, bad.value.param) == ("field-bad-value", "temperature")
        with pytest.raises(openai.NotFoundError) as missing:
            api.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "x"}])
        assert missing.value.code == "model-not-found"
        assert {model.id for model in api.models.list()} == {"auto", "chat", "fake"}


def test_too_many_at_once_on_one_key_is_a_rate_limit_error(box: Box, fake_engine: FakeEngine) -> None:
    box.configure(f'requests_at_once = 1\n[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    box.serve()
    key = box.key()
    first = box.open(key, ask("tokens=50 delay=100", stream=True))
    first.recv(100)
    with client(box, key) as api, pytest.raises(openai.RateLimitError) as limited:
        api.chat.completions.create(model="chat", messages=[{"role": "user", "content": "x"}])
    assert limited.value.code == "too-many-requests"
    assert limited.value.response.headers["retry-after"] == "1"
    first.close()
    wait_until(lambda: box.post(ask(), key)[0] == 200, what="the place given back")


def test_every_answer_carries_a_request_id_and_it_is_the_rows(served: Box) -> None:
    key = served.key()
    status, headers, _ = served.post(ask(), key)
    assert status == 200
    assert served.rows()[0]["request_id"] == headers["x-request-id"]
    for path, used in (
        ("/health", None),
        ("/ready", None),
        ("/v1/models", None),
        ("/nowhere", None),
        ("/v1/models", key),
    ):
        assert served.get(path, used)[1]["x-request-id"].startswith("req-")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"not json", 400, "body-not-json"),
        (b"[]", 400, "body-not-json"),
        ({"model": "chat"}, 400, "field-missing"),
        (ask(max_tokens=-1), 400, "field-bad-value"),
        (ask(max_tokens=10**30), 400, "field-bad-value"),
        (ask(seed=2**63), 400, "field-bad-value"),
        (ask(n=2), 400, "field-bad-value"),
        (ask(cache_prompt=True), 400, "field-unknown"),
        (ask(id_slot=-5), 400, "field-unknown"),
        (b"{" + b" " * 9_000_000 + b"}", 413, "body-too-large"),
    ],
)
def test_a_bad_request_is_refused_by_name_and_never_reaches_the_engine(
    served: Box, fake_engine: FakeEngine, body: Any, status: int, code: str
) -> None:
    asked = fake_engine.stats()["asked"]
    found, headers, said = served.post(body, served.key())
    assert (found, said["error"]["code"]) == (status, code)
    assert said["error"]["type"] == "invalid_request_error"
    assert fake_engine.stats()["asked"] == asked
    assert headers["x-request-id"] not in {row["request_id"] for row in served.rows()}


def test_addresses_and_methods_that_do_not_exist_say_so(served: Box) -> None:
    assert served.get("/v1/nothing")[2]["error"]["code"] == "route-not-found"
    assert served.get("/v1/chat/completions")[2]["error"]["code"] == "method-not-allowed"
    assert served.get("/v1/models")[2]["error"]["code"] == "key-missing"


def test_a_revoked_key_is_refused_on_the_next_request(served: Box) -> None:
    made = served.document("keys", "create", "--owner", "bob")
    assert served.post(ask(), made["key"])[0] == 200
    served.run("keys", "revoke", made["id"], "--yes")
    status, _, said = served.post(ask(), made["key"])
    assert (status, said["error"]["code"]) == (401, "key-refused")


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_hangs_up_cancels_the_engine_and_is_settled(
    served: Box, fake_engine: FakeEngine, streamed: bool
) -> None:
    before = fake_engine.stats()["cancelled"]
    opened = served.open(served.key(), ask("tokens=200 delay=50", stream=streamed))
    wait_until(
        lambda: fake_engine.stats()["asked"] > fake_engine.stats()["finished"] + before, what="the engine at work"
    )
    if streamed:
        while b"word" not in opened.recv(4096):
            pass
    opened.close()
    hung_up = time.monotonic()
    wait_until(lambda: fake_engine.stats()["cancelled"] == before + 1, 2, "the engine's cancellation")
    assert time.monotonic() - hung_up < 0.2 + 0.1, "the poll of the test itself may cost a tenth"
    wait_until(lambda: served.rows()[0]["settled_at"], 2, "the settled row")
    row = served.rows()[0]
    assert (row["outcome"], row["exact"]) == ("cancelled", False)
    assert row["prompt_tokens"] > 0
    assert 1 <= row["completion_tokens"] < 50 if streamed else row["completion_tokens"] == 0


@pytest.mark.parametrize(
    ("orders", "code"),
    [("tokens=9 drop=4", "engine-stopped"), ("tokens=9 fail=4", "engine-failed"), ("nodone", "engine-stopped")],
)
def test_an_engine_that_fails_in_mid_stream_ends_it_with_an_event_that_names_the_cause(
    served: Box, orders: str, code: str
) -> None:
    key = served.key()
    seen = events(served, key, ask(orders, stream=True))
    assert json.loads(seen[-1])["error"]["code"] == code
    assert "[DONE]" not in seen
    assert not any('"finish_reason":"stop"' in event for event in seen)
    row = served.rows()[0]
    assert (row["outcome"], row["error"], row["exact"]) == ("failed", code, False)
    with client(served, key) as api, pytest.raises(openai.APIError):
        list(api.chat.completions.create(model="chat", messages=[{"role": "user", "content": orders}], stream=True))


@pytest.mark.parametrize(
    ("orders", "status", "code", "outcome"),
    [
        ("status=400", 400, "engine-refused", "refused"),
        ("context", 400, "context-too-long", "refused"),
        ("status=500", 502, "engine-failed", "failed"),
        ("status=503", 503, "engine-unavailable", "failed"),
        ("nousage", 502, "engine-failed", "failed"),
        ("garbage", 503, "engine-unavailable", "failed"),
    ],
)
def test_what_the_engine_refuses_is_an_error_of_its_own(
    served: Box, orders: str, status: int, code: str, outcome: str
) -> None:
    found, _, said = served.post(ask(orders), served.key())
    assert (found, said["error"]["code"]) == (status, code)
    row = served.rows()[0]
    assert (row["outcome"], row["error"], row["completion_tokens"]) == (outcome, code, 0)


@pytest.mark.slow
def test_an_engine_that_is_not_there_is_waited_for_and_then_named(box: Box) -> None:
    box.configure('engine_wait_s = 0.3\n[engines.chat]\nurl = "http://127.0.0.1:9/v1"\nmodel = "fake"\n')
    box.serve()
    status, headers, said = box.post(ask(), box.key())
    assert (status, said["error"]["code"], headers["retry-after"]) == (503, "engine-unavailable", "5")
    row = box.rows()[0]
    assert (row["outcome"], row["prompt_tokens"], row["exact"]) == ("failed", 0, True)
    assert row["queue_ms"] >= 300
    status, _, said = box.get("/ready")
    assert (status, said["parts"]["chat"]) == (503, "not ready")
    assert box.get("/health")[0] == 200


def test_the_engine_sees_neither_our_key_nor_who_asks(served: Box, fake_engine: FakeEngine) -> None:
    served.post(ask(user="anna", metadata={}, max_completion_tokens=4), served.key("anna"))
    last = fake_engine.stats()["last"]
    assert set(last) == {"model", "messages", "max_tokens"}
    assert (last["model"], last["max_tokens"]) == ("fake", 4)


@pytest.mark.slow
def test_the_end_of_the_gateway_settles_what_is_under_way(box: Box, fake_engine: FakeEngine) -> None:
    box.configure(f'[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    box.serve()
    opened = box.open(box.key(), ask("tokens=400 delay=50", stream=True))
    while b"word" not in opened.recv(4096):
        pass
    box.stop()
    opened.close()
    row = box.rows()[0]
    assert row["outcome"] in ("interrupted", "cancelled")
    assert row["completion_tokens"] > 0
