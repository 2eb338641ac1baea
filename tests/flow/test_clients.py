"""The official clients on the real engine: conversations, responses, messages, tools, schemas, vectors, errors."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from appliance.artifacts.shelf import Shelf
from appliance.config.paths import cache_folder
from appliance.control.plan import catalogue
from appliance.engine.location import find
from tests.support.box import ROOT, Box, free_port, wait_until

pytestmark = pytest.mark.model

SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CITIES = ("Rom", "Bonn", "Paris")
ASK: Any = {"role": "user", "content": "Weather in Ulm?"}
COUNT: Any = [{"role": "user", "content": "Count from one to five."}]
# Anthropic's client knows no temperature any more; the API does.
COLD: Any = {"extra_body": {"temperature": 0}}
FIXED: Any = {"model": "chat", "temperature": 0}


@pytest.fixture(scope="module")
def vectors(model_file: Path) -> Path:
    """The embedding model, fetched and converted once for all runs of the tests."""
    folder = cache_folder() / "tests-models"
    return Shelf(folder).pull(catalogue().get("all-minilm-l6-v2-q8_0"), lambda done, total: None)


@pytest.fixture(scope="module")
def sorter(vectors: Path) -> Iterator[str]:
    """The address of an engine that sorts. No reranking model comes without a hub: this one's order means nothing."""
    port = free_port()
    command = [str(find()), "--model", str(vectors), "--host", "127.0.0.1", "--port", str(port), "--reranking"]
    with subprocess.Popen([*command, "--threads", "1", "--offline"], stderr=subprocess.DEVNULL) as process:
        yield f"http://127.0.0.1:{port}/v1"
        process.terminate()


def asked(city: str) -> Any:
    """One question of those before; a model this small calls a tool only after it has seen it done."""
    return {"role": "user", "content": f"Weather in {city}?"}


def chat_history() -> list[Any]:
    """Questions that were answered by a call, and one more."""
    calls = [
        {"id": city, "type": "function", "function": {"name": "weather", "arguments": json.dumps({"city": city})}}
        for city in CITIES
    ]
    said = [{"role": "assistant", "content": None, "tool_calls": [call]} for call in calls]
    return [one for city, called in zip(CITIES, said, strict=True) for one in (asked(city), called)] + [ASK]


def items() -> list[Any]:
    """The same for responses."""
    calls = [
        {"type": "function_call", "call_id": city, "name": "weather", "arguments": json.dumps({"city": city})}
        for city in CITIES
    ]
    return [one for city, called in zip(CITIES, calls, strict=True) for one in (asked(city), called)] + [ASK]


def turns() -> list[Any]:
    """The same for messages."""
    calls = [{"type": "tool_use", "id": city, "name": "weather", "input": {"city": city}} for city in CITIES]
    said = [{"role": "assistant", "content": [call]} for call in calls]
    return [one for city, called in zip(CITIES, said, strict=True) for one in (asked(city), called)] + [ASK]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, model_file: Path, vectors: Path, sorter: str) -> Iterator[Box]:
    """A box that is up, with models for conversations, embeddings and sorting."""
    box = Box(tmp_path_factory.mktemp("clients"))
    box.configure(
        "[engines.chat]\ncontext = 2048\nslots = 2\n"
        '[engines.embed]\nmodel = "all-minilm-l6-v2-q8_0"\ncontext = 512\nslots = 2\n'
        f'[engines.rerank]\nurl = "{sorter}"\nmodel = "sorter"\n'
    )
    (box.state / "models").mkdir(parents=True)
    for file in (model_file, vectors):
        (box.state / "models" / file.name).symlink_to(file)
    # The embedded model's own template knows no tools.
    box.run("up", "--no-prove", env={"LLAMA_ARG_CHAT_TEMPLATE_FILE": str(ROOT / "tests/support/tools.jinja")})
    wait_until(lambda: box.answers("/ready"), 60, "all engines")
    yield box
    box.run("down")


@pytest.fixture
def api(up: Box) -> Iterator[openai.OpenAI]:
    """OpenAI's client."""
    with openai.OpenAI(base_url=f"http://127.0.0.1:{up.port}/v1", api_key=up.key(), max_retries=0) as made:
        yield made


@pytest.fixture
def claude(up: Box) -> Iterator[anthropic.Anthropic]:
    """Anthropic's client."""
    with anthropic.Anthropic(base_url=f"http://127.0.0.1:{up.port}", api_key=up.key(), max_retries=0) as made:
        yield made


def last_row(box: Box) -> tuple[int, int, str, bool]:
    """What the newest row of the ledger says of tokens, and how its call ended."""
    row = box.rows(1)[0]
    return row["prompt_tokens"], row["completion_tokens"], row["outcome"], row["exact"]


def test_chat_with_a_tool_and_its_result(up: Box, api: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    other: Any = {"type": "function", "function": {"name": "time", "parameters": SCHEMA}}
    chosen: Any = {"type": "function", "function": {"name": "weather"}}
    first = api.chat.completions.create(
        messages=chat_history(), tools=[other, tool], tool_choice=chosen, max_completion_tokens=60, **FIXED
    )
    message = first.choices[0].message
    assert message.tool_calls
    call: Any = message.tool_calls[0]
    assert (first.choices[0].finish_reason, call.function.name) == ("tool_calls", "weather")
    assert "city" in json.loads(call.function.arguments)
    back: Any = {"role": "tool", "tool_call_id": call.id, "content": "20 degrees"}
    second = api.chat.completions.create(
        messages=[*chat_history(), message, back], tools=[tool], max_completion_tokens=8, **FIXED
    )
    assert second.usage is not None
    assert last_row(up) == (second.usage.prompt_tokens, second.usage.completion_tokens, "complete", True)


def test_chat_as_a_raw_response_with_both_ids(api: openai.OpenAI) -> None:
    raw = api.chat.completions.with_raw_response.create(
        messages=COUNT, max_completion_tokens=4, extra_headers={"x-request-id": "mine.1"}, **FIXED
    )
    assert (raw.headers["x-client-request-id"], raw.request_id) == ("mine.1", raw.headers["x-request-id"])
    assert raw.parse().choices[0].finish_reason == "length"


def test_completions_plain_and_streamed_agree(up: Box, api: openai.OpenAI) -> None:
    fixed: Any = {"prompt": "One two three", "max_tokens": 12, **FIXED}
    plain = api.completions.create(**fixed)
    chunks = list(api.completions.create(**fixed, stream=True, stream_options={"include_usage": True}))
    assert plain.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) != ""
    assert plain.usage is not None
    assert chunks[-1].usage is not None
    assert plain.usage.completion_tokens == chunks[-1].usage.completion_tokens == 12
    assert last_row(up) == (plain.usage.prompt_tokens, 12, "complete", True)
    tokens = api.completions.create(model="chat", prompt=[1, 2, 3], max_tokens=2)
    assert tokens.usage is not None
    assert tokens.usage.prompt_tokens == 3
    with pytest.raises(openai.BadRequestError) as refused:
        api.completions.create(model="chat", prompt=[2_000_000_000], max_tokens=2)
    assert refused.value.code == "engine-refused"


def test_responses_plain_and_streamed_agree(up: Box, api: openai.OpenAI) -> None:
    plain = api.responses.create(input=COUNT, max_output_tokens=16, instructions="Be brief.", **FIXED)
    with api.responses.stream(input=COUNT, max_output_tokens=16, instructions="Be brief.", **FIXED) as events:
        kinds = [event.type for event in events]
        if "response.incomplete" not in kinds:
            assert events.get_final_response().output_text == plain.output_text
    assert plain.output_text
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert plain.usage is not None
    assert last_row(up) == (plain.usage.input_tokens, plain.usage.output_tokens, "complete", True)
    counted = api.responses.input_tokens.count(model="chat", input=COUNT, instructions="Be brief.")
    assert counted.input_tokens == plain.usage.input_tokens


def test_responses_with_a_tool_and_a_schema(api: openai.OpenAI) -> None:
    tool: Any = {"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}
    called = api.responses.create(input=items(), tools=[tool], tool_choice="required", max_output_tokens=60, **FIXED)
    call = called.output[-1]
    assert call.type == "function_call"
    assert "city" in json.loads(call.arguments)
    back: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "20 degrees"}
    history: Any = [*items(), *called.output, back]
    answered = api.responses.create(input=history, tools=[tool], tool_choice="none", max_output_tokens=8, **FIXED)
    assert answered.output_text
    form: Any = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
    shaped = api.responses.create(input="Name a city.", text=form, max_output_tokens=60, **FIXED)
    assert isinstance(json.loads(shaped.output_text)["city"], str)


def test_messages_plain_and_streamed_agree(up: Box, claude: anthropic.Anthropic) -> None:
    fixed: Any = {"model": "chat", "max_tokens": 24, "messages": COUNT, **COLD, "system": "Be brief."}
    plain = claude.messages.create(**fixed)
    with claude.messages.stream(**fixed) as events:
        text = "".join(events.text_stream)
        final = events.get_final_message()
    assert plain.content[0].type == "text"
    assert plain.content[0].text == text != ""
    assert (plain.stop_reason, plain.usage.output_tokens) == (final.stop_reason, final.usage.output_tokens)
    usage = final.usage
    read = usage.input_tokens + (usage.cache_read_input_tokens or 0)
    assert last_row(up) == (read, usage.output_tokens, "complete", True)
    assert claude.messages.count_tokens(model="chat", messages=COUNT, system="Be brief.").input_tokens == read


@pytest.mark.parametrize("streamed", [True, False])
def test_messages_tell_which_stop_sequence_it_was(claude: anthropic.Anthropic, streamed: bool) -> None:
    fixed: Any = {"model": "chat", "max_tokens": 40, **COLD, "stop_sequences": ["#", "three", "3"]}
    ask: Any = [
        {"role": "user", "content": "Say: one, two, three, four."},
        {"role": "assistant", "content": "one, two, three, four."},
        {"role": "user", "content": "Again."},
    ]
    if streamed:
        with claude.messages.stream(messages=ask, **fixed) as events:
            answer: Any = events.get_final_message()
    else:
        answer = claude.messages.create(messages=ask, **fixed)
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "three")


def test_messages_with_a_tool_and_its_result(claude: anthropic.Anthropic) -> None:
    tool: Any = {"name": "weather", "description": "The weather", "input_schema": SCHEMA}
    fixed: Any = {"model": "chat", **COLD, "tools": [tool]}
    with claude.messages.stream(
        messages=turns(), max_tokens=80, tool_choice={"type": "tool", "name": "weather"}, **fixed
    ) as events:
        called = events.get_final_message()
    use = called.content[-1]
    assert use.type == "tool_use"
    assert (called.stop_reason, set(use.input)) == ("tool_use", {"city"})
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "20 degrees"}]}
    said: Any = {"role": "assistant", "content": called.content}
    answered = claude.messages.create(
        messages=[*turns(), said, result], max_tokens=8, tool_choice={"type": "none"}, **fixed
    )
    assert answered.usage.output_tokens > 0


def test_a_message_may_ask_for_thoughts_of_a_model_that_has_none(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(
        model="chat", max_tokens=2000, messages=COUNT, thinking={"type": "enabled", "budget_tokens": 1024}
    )
    assert answer.content[-1].type == "text"


def test_vectors_in_either_encoding(up: Box, api: openai.OpenAI) -> None:
    texts = ["Please pay the invoice.", "The bill is due."]
    packed = api.embeddings.create(model="embed", input=texts)
    assert last_row(up) == (packed.usage.prompt_tokens, 0, "complete", True)
    plain = api.embeddings.create(model="embed", input=texts, encoding_format="float")
    assert [len(one.embedding) for one in packed.data] == [384, 384]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-3)
    assert len(api.embeddings.create(model="embed", input=[[101, 7592, 102]]).data) == 1


@pytest.mark.parametrize(
    ("more", "code", "param"),
    [
        ({"dimensions": 64}, "field-unknown", "dimensions"),
        ({"input": "word " * 3000}, "context-too-long", "input"),
        ({"input": [2_000_000_000]}, "engine-refused", None),
        ({"model": "chat"}, "model-wrong-kind", "model"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    api: openai.OpenAI, more: dict[str, Any], code: str, param: str | None
) -> None:
    asked: Any = {"model": "embed", "input": "x", **more}
    with pytest.raises(openai.BadRequestError) as refused:
        api.embeddings.create(**asked)
    assert (refused.value.code, refused.value.param) == (code, param)


def test_documents_are_sorted_by_the_engine(up: Box) -> None:
    body = {"model": "rerank", "query": "money", "documents": ["a bill", "a cat", "a bank"], "top_n": 2}
    status, _, said = up.post(body, up.key(), "/v1/rerank")
    assert status == 200
    first, second = said["results"]
    assert first["relevance_score"] >= second["relevance_score"]
    assert last_row(up) == (said["usage"]["prompt_tokens"], 0, "complete", True)


def test_too_long_a_conversation_is_the_clients_own_error(api: openai.OpenAI, claude: anthropic.Anthropic) -> None:
    long: Any = [{"role": "user", "content": "word " * 6000}]
    with pytest.raises(openai.BadRequestError) as refused:
        api.responses.create(model="chat", input=long)
    assert (refused.value.code, refused.value.param) == ("context-too-long", "input")
    with pytest.raises(anthropic.BadRequestError) as told:
        claude.messages.create(model="chat", max_tokens=9, messages=long)
    assert told.value.type == "invalid_request_error"
