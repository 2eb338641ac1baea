"""What a request of Anthropic's Messages API may say, and the chat request that it becomes."""

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
from appliance.policy.messages import read, read_to_count

HELLO: dict[str, Any] = {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
TOOL = {
    "name": "f",
    "description": "Does f",
    "input_schema": {"type": "object"},
    "cache_control": {"type": "ephemeral"},
}
OTHER = {"name": "g", "input_schema": {"type": "object"}, "type": "custom", "strict": True}


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
    request = asked(temperature=0.5, top_k=5, top_p=0.9, stop_sequences=["END", ""], metadata={"user_id": "u"})
    assert request.fields == {
        "model": "chat",
        "messages": HELLO["messages"],
        "max_tokens": 9,
        "temperature": 0.5,
        "top_k": 5,
        "top_p": 0.9,
        "stop": ["END"],
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert (request.streamed, request.wants_usage, request.kept["stop_sequences"]) == (False, True, ["END"])
    assert asked(stream=True).streamed


def test_a_conversation_with_tools_keeps_its_order() -> None:
    said = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "xx"},
        {"type": "text", "text": "I look.", "citations": None},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"ä": 1}},
    ]
    back = [
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "42"}]},
        {"type": "tool_result", "tool_use_id": "t2", "content": "no", "is_error": True},
        {"type": "text", "text": "And now?"},
    ]
    system = [
        {"type": "text", "text": "Be", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "brief"},
    ]
    messages = [*HELLO["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": back}]
    call = {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"ä": 1}'}}
    assert asked(messages=messages, system=system, tools=[TOOL]).fields["messages"] == [
        {"role": "system", "content": "Be\nbrief"},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "42"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: no"},
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize(
    ("choice", "theirs", "tools"),
    [
        ({"type": "auto"}, "auto", ["f", "g"]),
        ({"type": "any"}, "required", ["f", "g"]),
        ({"type": "none"}, "none", ["f", "g"]),
        ({"type": "tool", "name": "g"}, "required", ["g"]),
    ],
)
def test_the_choice_of_tools(choice: dict[str, str], theirs: str, tools: list[str]) -> None:
    fields = asked(tools=[TOOL, OTHER], tool_choice=choice).fields
    assert (fields["tool_choice"], [tool["function"]["name"] for tool in fields["tools"]]) == (theirs, tools)
    assert fields["tools"][0]["function"]["parameters"] == {"type": "object"}


def test_one_call_at_a_time_and_a_tool_that_is_not_there() -> None:
    once = {"type": "any", "disable_parallel_tool_use": True}
    assert asked(tools=[TOOL], tool_choice=once).fields["parallel_tool_calls"] is False
    assert refused(tools=[TOOL], tool_choice={"type": "tool", "name": "h"}).param == "tool_choice"


@pytest.mark.parametrize(
    ("thinking", "thinks", "shown", "budget"),
    [
        ({"type": "disabled"}, False, False, None),
        ({"type": "adaptive"}, True, True, None),
        ({"type": "enabled", "budget_tokens": 2048}, True, True, 2048),
        ({"type": "enabled", "budget_tokens": 2048, "display": "omitted"}, True, False, 2048),
    ],
)
def test_thoughts_come_only_when_they_are_asked_for(
    thinking: dict[str, Any], thinks: bool, shown: bool, budget: int | None
) -> None:
    request = asked(thinking=thinking)
    assert request.fields["chat_template_kwargs"] == {"enable_thinking": thinks}
    assert (request.kept["thinking"], request.fields.get("thinking_budget_tokens")) == (shown, budget)


def test_effort_and_format() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    output = {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    fields = asked(output_config=output, thinking={"type": "adaptive"}).fields
    assert fields["reasoning_effort"] == "low"
    assert fields["response_format"]["json_schema"]["schema"] == schema


def test_a_stamp_that_changes_with_each_request_is_left_out() -> None:
    stamp = "x-anthropic-billing-header: cc_version=2.1; cc_entrypoint=cli; cch=a5145;"
    for system in ([{"type": "text", "text": stamp}, {"type": "text", "text": "Be brief"}], f"{stamp}Be brief"):
        assert asked(system=system).fields["messages"][0]["content"] == "Be brief"


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}


@pytest.mark.parametrize(
    ("more", "param", "words"),
    [
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages", "'image'"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages", "'document'"),
        ({"messages": []}, "messages", "1 to 2000"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools", "'web_search_20250305'"),
        ({"mcp_servers": []}, "mcp_servers", "mcp_servers"),
        ({"container": "c"}, "container", "nothing is kept"),
        ({"max_tokens": 0}, "max_tokens", "from 1"),
        ({"temperature": 1.5}, "temperature", "from 0 to 1"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking", "1024"),
        ({"thinking": {"type": "enabled"}}, "thinking", "budget_tokens"),
        ({"grammar": "root ::= x"}, "grammar", "grammar"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(more: dict[str, Any], param: str, words: str) -> None:
    error = refused(**more)
    assert error.param == param
    assert words in error.sentence


def test_the_longest_answer_must_be_said_but_not_to_count() -> None:
    body = {name: value for name, value in HELLO.items() if name != "max_tokens"}
    with pytest.raises(ApplianceError) as caught:
        read(json.dumps(body).encode())
    assert (caught.value.code, caught.value.param) == ("field-missing", "max_tokens")
    assert read_to_count(json.dumps(body).encode()).fields["messages"] == HELLO["messages"]


def test_null_means_not_given() -> None:
    assert asked(system=None, tools=None, container=None, thinking=None).fields == asked().fields


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "name"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.sampled_from([*HELLO, "system", "tools", "tool_choice", "thinking", "output_config"]), ANY)
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
