"""What a chat completion request may say."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.policy.body import EngineRequest, estimate_tokens
from appliance.policy.chat import FIELDS, read

HELLO: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "Hello"}]}


def asked(**more: Any) -> EngineRequest:
    """A request that must be accepted."""
    return read(json.dumps({**HELLO, **more}).encode())


def refused(body: bytes) -> ApplianceError:
    """The error for a request that must be refused."""
    with pytest.raises(ApplianceError) as caught:
        read(body)
    return caught.value


def refused_with(**more: Any) -> ApplianceError:
    """The error for a request with these fields."""
    return refused(json.dumps({**HELLO, **more}).encode())


def test_a_plain_request_reaches_the_engine_as_it_is() -> None:
    request = asked(temperature=0.5, stop=["a", "b"])
    assert request.fields == {**HELLO, "temperature": 0.5, "stop": ["a", "b"]}
    assert (request.model, request.streamed, request.wants_usage) == ("chat", False, False)
    assert request.prompt_bytes == len(json.dumps({**HELLO, "temperature": 0.5, "stop": ["a", "b"]}))


def test_how_to_stream_is_ours_to_say_to_the_engine() -> None:
    request = asked(stream=True, stream_options={"include_usage": True, "include_obfuscation": False})
    assert (request.streamed, request.wants_usage) == (True, True)
    assert request.fields == HELLO


def test_null_means_not_given() -> None:
    nothing = {name: None for name in FIELDS if name not in HELLO}
    request = asked(**nothing)
    assert request.fields == HELLO
    assert (request.streamed, request.wants_usage) == (False, False)


@pytest.mark.parametrize("name", ["model", "messages"])
def test_what_is_needed_cannot_be_null_or_missing(name: str) -> None:
    assert refused_with(**{name: None}).code == "field-bad-value"
    error = refused(json.dumps({key: value for key, value in HELLO.items() if key != name}).encode())
    assert (error.code, error.param) == ("field-missing", name)


def test_the_newer_name_for_the_longest_answer_wins_and_goes_out_under_the_older() -> None:
    assert asked(max_completion_tokens=7).fields == {**HELLO, "max_tokens": 7}
    assert asked(max_completion_tokens=7, max_tokens=9).fields["max_tokens"] == 7
    assert asked(max_completion_tokens=None, max_tokens=9).fields["max_tokens"] == 9


def test_what_is_no_business_of_the_engine_stays_here() -> None:
    assert (
        asked(
            user="anna",
            store=False,
            service_tier="auto",
            metadata={"a": "b"},
            safety_identifier="x",
            prompt_cache_key="x",
            prompt_cache_retention="24h",
            verbosity="low",
            prediction={"type": "content", "content": "x"},
            modalities=["text"],
        ).fields
        == HELLO
    )


@pytest.mark.parametrize(
    "name", ["cache_prompt", "id_slot", "grammar", "lora", "n_predict", "samplers", "timings_per_token", "", "a" * 500]
)
def test_a_field_that_is_not_listed_is_refused_by_name(name: str) -> None:
    error = refused_with(**{name: 1})
    assert (error.code, error.param, error.kind.http) == ("field-unknown", name[:60], 400)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "top_k", "top_logprobs", "temperature", "n"])
@pytest.mark.parametrize("value", [-1, -(10**30), 10**30, -1.5, 1e308, True, "1", [], {}])
def test_a_number_outside_its_range_never_reaches_the_engine(name: str, value: Any) -> None:
    error = refused_with(**{name: value})
    assert (error.code, error.param) == ("field-bad-value", name)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"0x10", b"01"])
def test_numbers_that_json_does_not_have_are_no_json(number: bytes) -> None:
    assert refused(b'{"model":"chat","messages":[],"temperature":' + number + b"}").code == "body-not-json"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"1", b'"text"', b"{", b"\xff\xfe", b"{}{}", b"[" * 100_000])
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    assert refused(body).code == "body-not-json"


def test_a_tool_may_not_be_nested_without_end() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"a": deep}
    error = refused_with(tools=[{"type": "function", "function": {"name": "f", "parameters": deep}}])
    assert (error.code, error.param) == ("field-bad-value", "tools")
    assert "32 deep" in error.sentence


@pytest.mark.parametrize(
    "messages",
    [
        [],
        {},
        "Hello",
        [None],
        [{"content": "no role"}],
        [{"role": "king", "content": "x"}],
        [{"role": "user", "content": 7}],
        [{"role": "user", "content": []}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
        [{"role": "user", "content": "x", "extra": 1}],
        [{"role": "assistant", "tool_calls": [{"id": "1", "type": "function"}]}],
    ],
)
def test_messages_that_are_not_as_they_must_be_are_refused(messages: Any) -> None:
    error = refused_with(messages=messages)
    assert (error.code, error.param) == ("field-bad-value", "messages")


def test_a_conversation_with_tools_is_accepted() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be brief"}]},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": None}}]
    assert asked(messages=messages, tools=tools, tool_choice="auto").fields["tools"] == tools


def test_one_tool_that_is_named_is_the_only_one_on_offer() -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("f", "g")]
    fields = asked(tools=tools, tool_choice={"type": "function", "function": {"name": "g"}}).fields
    assert (fields["tools"], fields["tool_choice"]) == (tools[1:], "required")
    error = refused_with(tools=tools, tool_choice={"type": "function", "function": {"name": "h"}})
    assert (error.code, error.param) == ("field-bad-value", "tool_choice")


def test_a_message_of_the_official_client_may_be_sent_back() -> None:
    call = {"id": "1", "type": "function", "index": 0, "function": {"name": "f", "arguments": "{}"}}
    nothing = {"refusal": None, "annotations": None, "audio": None, "function_call": None, "reasoning_content": None}
    messages = [*HELLO["messages"], {"role": "assistant", "content": None, "tool_calls": [call], **nothing}]
    fields = asked(messages=messages).fields
    assert fields["messages"][1] == {"role": "assistant", "content": None, "tool_calls": [call]}


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file"])
def test_a_part_that_no_model_takes_is_refused_by_name(kind: str) -> None:
    error = refused_with(messages=[{"role": "user", "content": [{"type": kind}]}])
    assert (error.code, error.param) == ("field-bad-value", "messages")
    assert f"'{kind}'" in error.sentence


@pytest.mark.parametrize("name", ["functions", "function_call", "web_search_options", "audio"])
def test_a_field_that_clients_know_is_refused_with_the_reason(name: str) -> None:
    error = refused_with(**{name: {}})
    assert (error.code, error.param) == ("field-unknown", name)
    assert ": " in error.sentence
    assert asked(**{name: None}).fields == HELLO


@pytest.mark.parametrize(
    "bias",
    [
        [],
        {"word": 1},
        {"-1": 1},
        {"1234567": 1},
        {"²": 1},
        {"1": 101},
        {"1": None},
        {"1": False},
        {str(i): 1 for i in range(301)},
    ],
)
def test_a_bias_that_is_no_map_of_tokens_is_refused(bias: Any) -> None:
    assert refused_with(logit_bias=bias).param == "logit_bias"


def test_a_bias_within_its_limits_is_accepted() -> None:
    assert asked(logit_bias={"0": -100, "999999": 100, "5": 0.5}).fields["logit_bias"]["5"] == 0.5


def test_tokens_are_estimated_at_four_bytes_rounded_up() -> None:
    assert [estimate_tokens(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["user", "text", "function", "auto", "chat", "json_schema", 2**63, -(2**63) - 1]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "function", "name", "arguments", "schema", "1"])
            | st.text(st.characters(), max_size=4),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
BODY = st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(st.characters(), max_size=6), ANY, max_size=6)


@given(BODY, st.booleans())
@example({"model": "\ud800"}, True)
def test_any_json_body_is_a_request_or_an_error_of_the_4xx_kind(body: dict[str, Any], whole: bool) -> None:
    data = json.dumps({**HELLO, **body} if whole else body).encode()
    try:
        request = read(data)
    except ApplianceError as error:
        assert 400 <= error.kind.http < 500
        assert error.sentence
        assert error.hint
        assert orjson.dumps([error.sentence, error.param])
        return
    assert set(request.fields) <= set(FIELDS)
    assert all(FIELDS[name].check(value) is None for name, value in request.fields.items())
    assert orjson.loads(orjson.dumps(request.fields)) == request.fields


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_an_error_of_the_4xx_kind(body: bytes) -> None:
    assert 400 <= refused(body).kind.http < 500
