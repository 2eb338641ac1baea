"""Every other address before a fake engine: answers by the official clients, metering, hang-ups, failures, refusals."""

from __future__ import annotations

import http.client
import json
from typing import Any

import anthropic
import openai
import pytest

from tests.support.box import Box, bodies, wait_until
from tests.support.engines import FakeEngine
from tests.support.fake_engine import PROMPT_TOKENS

TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
THEIR_TOOL: Any = {"name": "weather", "input_schema": {"type": "object"}}
STREAMED = ("/v1/completions", "/v1/responses", "/v1/messages")
GENERATING = (*STREAMED, "/v1/embeddings", "/v1/rerank")


def openai_client(box: Box, key: str) -> openai.OpenAI:
    """OpenAI's own client on a box."""
    return openai.OpenAI(base_url=f"http://127.0.0.1:{box.port}/v1", api_key=key, max_retries=0)


def anthropic_client(box: Box, key: str) -> anthropic.Anthropic:
    """Anthropic's own client on a box; it sends the key in a header of its own."""
    return anthropic.Anthropic(base_url=f"http://127.0.0.1:{box.port}", api_key=key, max_retries=0)


def say(content: str) -> list[Any]:
    """A conversation that tells the engine what to do."""
    return [{"role": "user", "content": content}]


def stream(box: Box, path: str, content: str) -> list[tuple[str, Any]]:
    """The events of a stream: their names, and their data."""
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=30)
    body = json.dumps(bodies(content, stream=True)[path])
    connection.request("POST", path, body, {"authorization": f"Bearer {box.key()}"})
    response = connection.getresponse()
    said = response.read().decode()
    assert response.status == 200, said
    connection.close()
    found = []
    for block in said.split("\n\n")[:-1]:
        name, _, data = block.rpartition("\n")
        text = data.removeprefix("data: ")
        found.append((name.removeprefix("event: "), text if text == "[DONE]" else json.loads(text)))
    return found


@pytest.mark.parametrize("path", GENERATING)
def test_every_answer_is_metered_to_the_token(served_all: Box, path: str) -> None:
    status, headers, _ = served_all.post(bodies("tokens=5")[path], served_all.key("anna"), path)
    row = served_all.rows()[0]
    written = 0 if path in ("/v1/embeddings", "/v1/rerank") else 5
    assert status == 200
    assert (row["request_id"], row["principal"], row["outcome"]) == (headers["x-request-id"], "anna", "complete")
    assert (row["prompt_tokens"], row["completion_tokens"], row["exact"]) == (PROMPT_TOKENS, written, True)


@pytest.mark.parametrize("path", STREAMED)
def test_every_stream_is_metered_to_the_token(served_all: Box, path: str) -> None:
    stream(served_all, path, "tokens=5")
    row = served_all.rows()[0]
    assert (row["outcome"], row["streamed"], row["exact"]) == ("complete", True, True)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (PROMPT_TOKENS, 5)


@pytest.mark.parametrize("path", STREAMED)
@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_hangs_up_cancels_the_engine_and_is_settled(
    served_all: Box, fake_engine: FakeEngine, path: str, streamed: bool
) -> None:
    before = fake_engine.stats()["cancelled"]
    body = bodies("tokens=200 delay=50", stream=streamed)[path]
    opened = served_all.open(served_all.key(), body, path)
    wait_until(
        lambda: fake_engine.stats()["asked"] > fake_engine.stats()["finished"] + before, what="the engine at work"
    )
    if streamed:
        while b"word" not in opened.recv(4096):
            pass
    opened.close()
    wait_until(lambda: fake_engine.stats()["cancelled"] == before + 1, 2, "the engine's cancellation")
    wait_until(lambda: served_all.rows()[0]["settled_at"], 2, "the settled row")
    row = served_all.rows()[0]
    assert (row["outcome"], row["exact"]) == ("cancelled", False)
    assert row["prompt_tokens"] > 0
    assert 1 <= row["completion_tokens"] < 50 if streamed else row["completion_tokens"] == 0


@pytest.mark.parametrize("path", STREAMED)
@pytest.mark.parametrize(
    ("orders", "code"),
    [("tokens=9 drop=4", "engine-stopped"), ("tokens=9 fail=4", "engine-failed"), ("nodone", "engine-stopped")],
)
def test_an_engine_that_fails_in_mid_stream_ends_it_with_an_event_of_the_shape(
    served_all: Box, path: str, orders: str, code: str
) -> None:
    found = stream(served_all, path, orders)
    said = json.dumps(found)
    if path == "/v1/messages":
        assert (found[-1][0], found[-1][1]["error"]["code"]) == ("error", code)
        assert "message_stop" not in said
    elif path == "/v1/responses":
        assert [name for name, _ in found[-2:]] == ["error", "response.failed"]
        assert found[-2][1]["code"] == found[-1][1]["response"]["error"]["code"] == code
        assert "response.completed" not in said
        assert "output_item.done" not in said
    else:
        assert found[-1][1]["error"]["code"] == code
        assert "[DONE]" not in said
    row = served_all.rows()[0]
    assert (row["outcome"], row["error"], row["exact"]) == ("failed", code, False)
    assert row["completion_tokens"] == (8 if orders == "nodone" else 4)


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/messages"])
def test_nonsense_of_an_engine_is_its_failure_and_not_our_bug(served_all: Box, path: str) -> None:
    assert '"engine-failed"' in json.dumps(stream(served_all, path, "nonsense"))
    assert served_all.rows()[0]["error"] == "engine-failed"


@pytest.mark.parametrize("path", GENERATING)
@pytest.mark.parametrize(
    ("orders", "status", "code", "outcome"),
    [
        ("status=400", 400, "engine-refused", "refused"),
        ("context", 400, "context-too-long", "refused"),
        ("status=500", 502, "engine-failed", "failed"),
        ("status=501", 400, "engine-refused", "refused"),
        ("nousage", 502, "engine-failed", "failed"),
    ],
)
def test_what_the_engine_refuses_or_cannot_meter_is_an_error_of_the_shape(
    served_all: Box, path: str, orders: str, status: int, code: str, outcome: str
) -> None:
    found, _, said = served_all.post(bodies(orders)[path], served_all.key(), path)
    assert (found, said["error"]["code"]) == (status, code)
    assert ("type" in said) == (path == "/v1/messages")
    row = served_all.rows()[0]
    assert (row["outcome"], row["error"], row["completion_tokens"]) == (outcome, code, 0)


COUNTING = ("/v1/chat/completions/input_tokens", "/v1/responses/input_tokens", "/v1/messages/count_tokens")


@pytest.mark.parametrize("path", COUNTING)
def test_counting_is_on_no_record_and_wants_a_key(served_all: Box, path: str) -> None:
    served_all.key()
    before = len(served_all.rows())
    status, _, said = served_all.post(bodies()[path], served_all.key(), path)
    assert (status, said["input_tokens"]) == (200, PROMPT_TOKENS)
    assert said.get("object") == (None if "messages" in path else "response.input_tokens")
    assert served_all.post(bodies()[path], None, path)[0] == 401
    assert len(served_all.rows()) == before


@pytest.mark.parametrize("path", COUNTING)
@pytest.mark.parametrize(
    ("orders", "status", "code"),
    [
        ("cannot", 400, "engine-cannot-count"),
        ("status=400", 400, "engine-refused"),
        ("garbage", 503, "engine-unavailable"),
    ],
)
def test_an_engine_that_does_not_count_is_told_of(
    served_all: Box, path: str, orders: str, status: int, code: str
) -> None:
    found, _, said = served_all.post(bodies(orders)[path], served_all.key(), path)
    assert (found, said["error"]["code"]) == (status, code)
    assert served_all.get("/ready")[2]["busy"]["chat"] == 0


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/chat/completions", "embed"),
        ("/v1/messages", "rerank"),
        ("/v1/embeddings", "chat"),
        ("/v1/embeddings", "sorter"),
        ("/v1/rerank", "vectors"),
        ("/v1/messages/count_tokens", "embed"),
    ],
)
def test_a_model_is_asked_only_for_what_it_is_made_for(served_all: Box, path: str, model: str) -> None:
    status, _, said = served_all.post({**bodies()[path], "model": model}, served_all.key(), path)
    assert (status, said["error"]["code"], said["error"]["param"]) == (400, "model-wrong-kind", "model")


def test_the_official_client_gets_responses(served_all: Box) -> None:
    with openai_client(served_all, served_all.key()) as api:
        answer = api.responses.create(model="chat", input="tokens=3 think=2", instructions="Be brief", store=False)
        assert answer.output_text == "word " * 3
        assert [item.type for item in answer.output] == ["reasoning", "message"]
        assert answer.usage is not None
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (PROMPT_TOKENS, 3)
        with api.responses.stream(model="chat", input="tokens=3 calls=2", tools=[TOOL]) as events:  # type: ignore[list-item]
            kinds = [event.type for event in events]
            final = events.get_final_response()
        assert kinds.count("response.output_text.delta") == 3
        assert [item.type for item in final.output] == ["message", "function_call", "function_call"]
        counted = api.responses.input_tokens.count(model="chat", input="x")
        assert counted.input_tokens == PROMPT_TOKENS


def test_the_official_client_is_told_of_a_response_that_fails_or_is_cut_off(served_all: Box) -> None:
    with openai_client(served_all, served_all.key()) as api:
        cut = api.responses.create(model="chat", input="length")
        assert cut.incomplete_details is not None
        assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        kinds = [event.type for event in api.responses.create(model="chat", input="tokens=9 drop=4", stream=True)]
        assert kinds[-2:] == ["error", "response.failed"]
        with pytest.raises(openai.BadRequestError) as refused:
            api.responses.create(model="chat", input="x", previous_response_id="resp_1")
        assert (refused.value.code, refused.value.param) == ("field-unknown", "previous_response_id")


def test_the_official_client_gets_texts_vectors_and_single_models(served_all: Box) -> None:
    with openai_client(served_all, served_all.key()) as api:
        text = api.completions.create(model="chat", prompt="tokens=3")
        assert text.choices[0].text == "word " * 3
        pieces = api.completions.create(
            model="chat", prompt="tokens=3", stream=True, stream_options={"include_usage": True}
        )
        *chunks, last = list(pieces)
        assert "".join(chunk.choices[0].text for chunk in chunks) == "word " * 3
        assert last.usage is not None
        assert last.usage.completion_tokens == 3
        vectors = api.embeddings.create(model="embed", input=["a", "b"], encoding_format="float", dimensions=2)
        assert [one.embedding for one in vectors.data] == [[0.5, -0.5]] * 2
        assert api.models.retrieve("vectors").id == "vectors"
        with pytest.raises(openai.NotFoundError) as missing:
            api.models.retrieve("gpt/9")
        assert missing.value.code == "model-not-found"


def test_documents_are_sorted(served_all: Box, fake_engine: FakeEngine) -> None:
    body = {"model": "rerank", "query": "q", "documents": ["a", {"text": "b"}, "c"], "top_n": 2, "user": "anna"}
    status, _, said = served_all.post(body, served_all.key(), "/v1/rerank")
    assert (status, [one["index"] for one in said["results"]]) == (200, [2, 1])
    last = fake_engine.stats()["last"]
    assert last == {"model": "sorter", "query": "q", "documents": ["a", "b", "c"], "top_n": 2}


def test_the_official_client_gets_messages(served_all: Box) -> None:
    with anthropic_client(served_all, served_all.key()) as api:
        plain = api.messages.create(model="chat", max_tokens=9, messages=say("tokens=3 think=2"))
        assert [block.type for block in plain.content] == ["text"]
        assert (plain.stop_reason, plain.usage.input_tokens, plain.usage.output_tokens) == (
            "end_turn",
            PROMPT_TOKENS,
            3,
        )
        with api.messages.stream(
            model="chat",
            max_tokens=2000,
            messages=say("tokens=3 think=2 calls=2"),
            tools=[THEIR_TOOL],
            thinking={"type": "enabled", "budget_tokens": 1024},
        ) as events:
            final = events.get_final_message()
        assert [block.type for block in final.content] == ["thinking", "text", "tool_use", "tool_use"]
        assert (final.stop_reason, final.usage.input_tokens) == ("tool_use", PROMPT_TOKENS)
        call = final.content[2]
        assert call.type == "tool_use"
        assert (call.id, call.input) == ("call0", {"city": "Ulm"})
        assert api.messages.count_tokens(model="chat", messages=say("x")).input_tokens == PROMPT_TOKENS


def test_typed_exceptions_of_anthropics_client(served_all: Box) -> None:
    with anthropic_client(served_all, "apl-wrong") as api, pytest.raises(anthropic.AuthenticationError) as unknown:
        api.messages.create(model="chat", max_tokens=9, messages=say("x"))
    assert unknown.value.type == "authentication_error"
    assert (unknown.value.request_id or "").startswith("req-")
    with anthropic_client(served_all, served_all.key()) as api:
        with pytest.raises(anthropic.NotFoundError) as missing:
            api.messages.create(model="claude-9", max_tokens=9, messages=say("x"))
        assert missing.value.type == "not_found_error"
        with pytest.raises(anthropic.BadRequestError) as bad:
            api.messages.create(model="chat", max_tokens=9, messages=say("x"), container="c")
        assert "'container'" in bad.value.message
        with pytest.raises(anthropic.APIStatusError) as failed:
            list(api.messages.create(model="chat", max_tokens=9, messages=say("tokens=9 fail=4"), stream=True))
        assert failed.value.type == "api_error"
        with pytest.raises(anthropic.InternalServerError) as busy:
            api.messages.create(model="chat", max_tokens=9, messages=say("status=503"))
        assert busy.value.type == "overloaded_error"


def test_a_message_tells_the_engine_nothing_that_only_ours_knows(served_all: Box, fake_engine: FakeEngine) -> None:
    body = {**bodies()["/v1/messages"], "thinking": {"type": "enabled", "budget_tokens": 1024}, "stop_sequences": ["x"]}
    assert served_all.post(body, served_all.key(), "/v1/messages")[0] == 200
    assert set(fake_engine.stats()["last"]) == {"model", "messages", "max_tokens", "stop"}


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/nowhere", "/v1/messages"])
def test_a_clients_own_id_comes_back_beside_ours(served_all: Box, path: str) -> None:
    for said, back in (("a-B_c.9", "a-B_c.9"), ("x" * 128, "x" * 128), ("x" * 129, None), ("a b", None), ("", None)):
        connection = http.client.HTTPConnection("127.0.0.1", served_all.port, timeout=30)
        connection.request("GET", path, headers={"x-request-id": said})
        response = connection.getresponse()
        response.read()
        connection.close()
        assert response.headers["x-client-request-id"] == back
        assert response.headers["x-request-id"].startswith("req-")
