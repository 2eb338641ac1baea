"""A chat request in Anthropic's words."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.cloud import openai
from appliance.cloud.anthropic_request import request
from appliance.errors import ApplianceError

WEATHER = {"name": "weather", "description": "Tells it", "parameters": {"type": "object", "properties": {}}}


def asked(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What is sent for a conversation; one word of a user if there is none."""
    words = list(messages) or [user("Hello")]
    return request({"model": "claude-x", "messages": words, **more}, 99, reasoning=False)


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def block(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_the_least_that_is_sent() -> None:
    assert asked() == {
        "model": "claude-x",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": [block("Hello")]}],
        "stream": True,
    }


def test_the_systems_words_stand_apart_wherever_they_stood() -> None:
    sent = asked(
        {"role": "system", "content": "Be kind."}, user("Hi"), {"role": "developer", "content": [block("Be brief.")]}
    )
    assert sent["system"] == "Be kind.\n\nBe brief."
    assert [turn["role"] for turn in sent["messages"]] == ["user"]


def test_neighbours_of_one_role_are_one_turn_and_empty_words_are_left_out() -> None:
    sent = asked(user("a"), user([block("b"), block("  ")]), {"role": "assistant", "content": None}, user("c"))
    assert sent["messages"] == [{"role": "user", "content": [block("a"), block("b"), block("c")]}]


def test_calls_of_tools_and_what_they_gave() -> None:
    calls = [
        {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}},
        {"id": "2", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    sent = asked(
        user("Weather?"),
        {"role": "assistant", "content": "Let me look", "tool_calls": calls, "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "1", "content": "Sunny"},
        {"role": "tool", "tool_call_id": "2", "content": ""},
        user("Thanks"),
        tools=[{"type": "function", "function": WEATHER}, {"type": "function", "function": {"name": "now"}}],
    )
    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                block("Let me look"),
                {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Ulm"}},
                {"type": "tool_use", "id": "2", "name": "now", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": [block("Sunny")]},
                {"type": "tool_result", "tool_use_id": "2", "content": []},
                block("Thanks"),
            ],
        },
    ]
    assert sent["tools"] == [
        {"name": "weather", "description": "Tells it", "input_schema": WEATHER["parameters"]},
        {"name": "now", "input_schema": {"type": "object"}},
    ]
    assert sent["tool_choice"] == {"type": "auto"}


@pytest.mark.parametrize(
    ("more", "choice"),
    [
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
            {"type": "tool", "name": "weather"},
        ),
    ],
)
def test_the_choice_of_a_tool(more: dict[str, Any], choice: dict[str, Any]) -> None:
    assert asked(tools=[{"type": "function", "function": WEATHER}], **more)["tool_choice"] == choice
    assert "tool_choice" not in asked(**more), "without tools there is nothing to choose"


@pytest.mark.parametrize(
    ("more", "sent"),
    [
        ({"temperature": 0.3}, {"temperature": 0.3}),
        ({"temperature": 1.7}, {"temperature": 1}),
        ({"temperature": 0, "top_p": 0.9}, {"temperature": 0}),
        ({"top_p": 0.9, "top_k": 0}, {"top_p": 0.9}),
        ({"top_k": 40}, {"top_k": 40}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["A", "B"]}, {"stop_sequences": ["A", "B"]}),
        ({"presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False, "logit_bias": {}}, {}),
        ({"response_format": {"type": "text"}, "reasoning_effort": "low"}, {}),
    ],
)
def test_fields_and_what_becomes_of_them(more: dict[str, Any], sent: dict[str, Any]) -> None:
    found = asked(**more)
    assert {
        name: value for name, value in found.items() if name not in ("model", "max_tokens", "messages", "stream")
    } == sent


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"seed": 7}, "seed"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [{"role": "system", "content": "alone"}]}, "messages"),
        ({"messages": [user("  ")]}, "messages"),
        ({"messages": [user([{"type": "image_url", "image_url": {"url": "data:,"}}])]}, "messages"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "[1]"}}]}]},
            "messages",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": "{"}}]}]},
            "messages",
        ),
    ],
)
def test_what_cannot_be_said_there_is_refused_by_name(more: dict[str, Any], param: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        asked(**more)
    assert (caught.value.code, caught.value.param) == ("field-bad-value", param)


def test_a_model_that_reasons_gets_no_sampling() -> None:
    fields = {"model": "x", "messages": [user("Hi")], "temperature": 0.5, "top_k": 3, "max_tokens": 5}
    assert set(request(fields, 99, reasoning=True)) == {"model", "max_tokens", "messages", "stream"}
    sent = openai.request({**fields, "presence_penalty": 1}, 99, reasoning=True)
    assert sent == {"model": "x", "messages": [user("Hi")], "max_completion_tokens": 99}


def test_openais_dialect_is_left_as_it_is_but_for_the_limit_and_our_models_thoughts() -> None:
    said = {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
    sent = openai.request(
        {"model": "x", "messages": [user("Hi"), said], "top_k": 3, "max_tokens": 500}, 99, reasoning=False
    )
    assert sent == {
        "model": "x",
        "messages": [user("Hi"), {"role": "assistant", "content": "4"}],
        "top_k": 3,
        "max_tokens": 99,
    }
