"""What a request of OpenAI's Responses API may say, and the chat request that it becomes."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.policy import chat
from appliance.policy.body import EngineRequest
from appliance.policy.responses import read, read_to_count

HELLO: dict[str, Any] = {"model": "chat", "input": "Hello"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True, "description": None}
BARE = {"type": "function", "name": "g"}


def asked(**more: Any) -> EngineRequest:
    """A request that must be accepted; what goes to the engine must keep the rules of a chat request."""
    request = read(json.dumps({**HELLO, **more}).encode())
    chat.read(json.dumps(request.fields).encode())
    return request


def refused(**more: Any) -> ApplianceError:
    """The error for a request with these fields."""
    with pytest.raises(ApplianceError) as caught:
        read(json.dumps({**HELLO, **more}).encode())
    return caught.value


def test_a_plain_request_is_a_chat_request() -> None:
    request = asked(instructions="Be brief", max_output_tokens=7, temperature=0.5, top_p=0.9, store=False, user="u")
    assert request.fields == {
        "model": "chat",
        "messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hello"}],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
    }
    assert (request.streamed, request.wants_usage, request.prompt) == (False, True, "input")
    assert request.kept["instructions"] == "Be brief"
    assert asked(stream=True).streamed


def test_what_one_turn_thought_said_and_called_is_one_message() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "How "}, {"type": "input_text", "text": "warm?"}]},
        {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "20"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "21"}]},
        {"role": "assistant", "content": "Warm."},
        {"role": "assistant", "content": "Very."},
    ]
    messages = asked(input=items).fields["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "assistant", "assistant"]
    assert messages[0]["content"] == "How warm?"
    turn = messages[1]
    assert (turn["reasoning_content"], turn["content"]) == ("hm", "I look.")
    assert [call["id"] for call in turn["tool_calls"]] == ["c1", "c2"]
    assert messages[3] == {"role": "tool", "tool_call_id": "c2", "content": "21"}


@pytest.mark.parametrize(
    ("choice", "theirs", "tools"),
    [
        ("auto", "auto", ["f", "g"]),
        ("required", "required", ["f", "g"]),
        ({"type": "function", "name": "g"}, "required", ["g"]),
    ],
)
def test_the_choice_of_tools(choice: Any, theirs: str, tools: list[str]) -> None:
    fields = asked(tools=[TOOL, BARE], tool_choice=choice).fields
    assert (fields["tool_choice"], [tool["function"]["name"] for tool in fields["tools"]]) == (theirs, tools)
    assert "parameters" in fields["tools"][-1]["function"]


def test_formats_and_effort() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True, "description": None}
    fields = asked(text={"format": schema, "verbosity": "low"}, reasoning={"effort": "low", "summary": "auto"}).fields
    assert fields["response_format"]["json_schema"] == {"name": "n", "schema": {"type": "object"}, "strict": True}
    assert fields["reasoning_effort"] == "low"
    assert asked(text={"format": {"type": "json_object"}}).fields["response_format"] == {"type": "json_object"}
    assert "response_format" not in asked(text={"format": {"type": "text"}}).fields


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"previous_response_id": "r"}, "field-unknown", "nothing is kept"),
        ({"conversation": "c"}, "field-unknown", "nothing is kept"),
        ({"prompt": {"id": "p"}}, "field-unknown", "not stored"),
        ({"background": True}, "field-bad-value", "false"),
        ({"store": True}, "field-bad-value", "false"),
        ({"truncation": "auto"}, "field-bad-value", "disabled"),
        ({"tools": [{"type": "web_search"}]}, "field-bad-value", "'web_search'"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "field-bad-value", "'mcp'"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "field-bad-value", "'input_image'"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "field-bad-value", "'item_reference'"),
        ({"input": [{"type": "computer_call"}]}, "field-bad-value", "function_call"),
        ({"input": []}, "field-bad-value", "1 to 2000"),
        ({"include": ["file_search_call.results"]}, "field-bad-value", "reasoning.encrypted_content"),
        ({"max_output_tokens": 0}, "field-bad-value", "from 1"),
        ({"n_predict": 1}, "field-unknown", "n_predict"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(more: dict[str, Any], code: str, words: str) -> None:
    error = refused(**more)
    assert (error.code, error.param) == (code, next(iter(more)))
    assert words in error.sentence


def test_null_means_not_given() -> None:
    nothing = dict.fromkeys(("previous_response_id", "conversation", "prompt", "tools", "text", "reasoning", "store"))
    assert asked(**nothing).fields == asked().fields


def test_what_is_counted_is_what_would_be_read() -> None:
    body = {**HELLO, "instructions": "Be brief", "tools": [TOOL]}
    assert read_to_count(json.dumps(body).encode()).fields == asked(instructions="Be brief", tools=[TOOL]).fields
    with pytest.raises(ApplianceError):
        read_to_count(json.dumps({**body, "stream": True}).encode())


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "name"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from([*HELLO, "instructions", "tools", "tool_choice", "text", "reasoning", "metadata"]), ANY)
def test_whatever_is_sent_is_taken_or_refused_by_name(name: str, value: Any) -> None:
    try:
        body = orjson.dumps({**HELLO, name: value})
    except (orjson.JSONEncodeError, TypeError):
        return
    try:
        made = read(body)
    except ApplianceError as error:
        assert error.kind.http == 400
        assert error.param in (name, None)
    else:
        chat.read(orjson.dumps(made.fields))
