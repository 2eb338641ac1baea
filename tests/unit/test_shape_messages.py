"""Anthropic's events and messages, made from llama-server's chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from appliance.errors import ApplianceError
from appliance.gateway.shapes.messages import MessageShape
from appliance.gateway.shapes.parts import as_chunk
from appliance.policy.messages import read
from tests.unit.shaped import events, streamed, told, turn
from tests.unit.streams import DONE, chunk, usage

ADAPTER: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
ASKED = {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


def shape(**more: Any) -> MessageShape:
    """The shape of an answer to a request with these fields."""
    return MessageShape(read(json.dumps({**ASKED, **more}).encode()), "smol", "req-7")


def kinds(found: list[dict[str, Any]]) -> list[str]:
    """The types of events."""
    return [one["type"] for one in found]


def test_words_are_one_block_whose_end_is_held_back() -> None:
    before, after = streamed(shape(), *turn(say=2, cached=8))
    assert kinds(before) == ["message_start", "content_block_start", "content_block_delta", "content_block_delta"]
    assert kinds(after) == ["content_block_stop", "message_delta", "message_stop"]
    start = before[0]["message"]
    assert (start["id"], start["model"], start["content"], start["stop_reason"]) == ("msg_7", "smol", [], None)
    assert start["usage"] == {
        "input_tokens": 32,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 8,
        "output_tokens": 0,
    }
    assert after[1]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert after[1]["usage"]["output_tokens"] == 2
    assert (after[1]["usage"]["input_tokens"], after[1]["usage"]["cache_read_input_tokens"]) == (32, 8)


@pytest.mark.parametrize("asked", [True, False])
def test_every_event_is_one_that_the_official_client_knows(asked: bool) -> None:
    before, after = streamed(shape(**THINKING) if asked else shape(), *turn(2, 2, 2, finish="tool_calls"))
    for one in [*before, *after]:
        ADAPTER.validate_python(one)
    blocks = [one for one in [*before, *after] if one["type"] == "content_block_start"]
    types = [one["content_block"]["type"] for one in blocks]
    assert types == [*(["thinking"] if asked else []), "text", "tool_use", "tool_use"]
    assert [one["index"] for one in blocks] == list(range(len(blocks)))
    assert after[-2]["delta"]["stop_reason"] == "tool_use"


def test_blocks_follow_each_other_and_never_overlap() -> None:
    before, after = streamed(shape(**THINKING), *turn(1, 1, 2))
    opened: list[int] = []
    for one in [*before, *after]:
        if one["type"] == "content_block_start":
            assert not opened
            opened = [one["index"]]
        elif one["type"] == "content_block_delta":
            assert opened == [one["index"]]
        elif one["type"] == "content_block_stop":
            assert opened == [one["index"]]
            opened = []
    assert not opened


def test_a_call_comes_in_pieces_that_make_json() -> None:
    before, _ = streamed(shape(), *turn(call=1))
    pieces = [one["delta"]["partial_json"] for one in before if one["type"] == "content_block_delta"]
    assert json.loads("".join(pieces)) == {"a": 1}
    assert before[1]["content_block"] == {"type": "tool_use", "id": "c0", "name": "f", "input": {}}


@pytest.mark.parametrize(
    ("finish", "word", "reason"),
    [
        ("stop", None, "end_turn"),
        ("stop", "END", "stop_sequence"),
        ("stop", "<|im_end|>", "end_turn"),
        ("length", None, "max_tokens"),
        ("content_filter", None, "refusal"),
        ("something new", None, "end_turn"),
    ],
)
def test_why_it_stopped(finish: str, word: str | None, reason: str) -> None:
    last = chunk({}, finish=finish, __verbose={"stopping_word": word})
    _, after = streamed(shape(stop_sequences=["END"]), *turn(say=1)[:-3], last, usage(1, 1), DONE)
    assert after[-2]["delta"]["stop_reason"] == reason
    assert after[-2]["delta"]["stop_sequence"] == (word if reason == "stop_sequence" else None)


def test_an_empty_answer_has_a_beginning_and_an_end() -> None:
    before, after = streamed(shape(), *turn())
    assert kinds(before) == []
    assert kinds(after) == ["message_start", "message_delta", "message_stop"]


def test_a_plain_answer_is_a_message() -> None:
    message = {"role": "assistant", "content": "hi", "reasoning_content": "hm", "tool_calls": []}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    cut = {"id": "", "type": "function", "function": {"name": "g", "arguments": '{"a'}}
    choice = {"message": {**message, "tool_calls": [call, cut]}, "finish_reason": "length"}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    answer = told(shape(**THINKING), {"choices": [choice], "usage": usage})
    assert Message.model_validate(answer).stop_reason == "max_tokens"
    assert answer["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "hi"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "toolu_7_3", "name": "g", "input": {}},
    ]
    assert (answer["usage"]["input_tokens"], answer["usage"]["cache_read_input_tokens"]) == (1, 4)
    unasked = told(shape(), {"choices": [choice], "usage": usage})
    assert unasked["content"][0]["type"] == "text"


def test_a_call_that_the_engine_comes_back_to_is_a_failure() -> None:
    made = shape()
    calls = [{"index": place, "function": {"name": "f", "arguments": "{}"}} for place in (0, 1, 0)]
    with pytest.raises(ApplianceError) as caught:
        made.add({"choices": [{"delta": {"tool_calls": calls}}]})
    assert caught.value.code == "engine-failed"


def test_calls_that_come_whole_and_without_a_number_are_told_apart() -> None:
    made = shape()
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]
    before = events(made.add({"choices": [{"delta": {"tool_calls": calls}}]}))
    assert [one["content_block"]["name"] for one in before if one["type"] == "content_block_start"] == ["f", "g"]


@pytest.mark.parametrize("arguments", [{"a": 1}, ["x"], 7])
def test_arguments_that_are_no_text_are_no_part_of_an_answer(arguments: Any) -> None:
    with pytest.raises(TypeError):
        shape().add({"choices": [{"delta": {"tool_calls": [{"id": "a", "function": {"arguments": arguments}}]}}]})


def test_a_failure_is_an_error_event() -> None:
    made = shape()
    made.add(as_chunk({"choices": [{"message": {"content": "x"}}]}))
    (told_,) = events(made.failure(ApplianceError("engine-stopped", "It stopped.", "Again."), "req-7"))
    assert (told_["error"]["type"], told_["error"]["code"]) == ("api_error", "engine-stopped")
    assert told_["error"]["message"] == "It stopped. Again."


@given(st.data(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_however_the_bytes_are_cut_the_events_are_the_same(
    data: st.DataObject, think: int, say: int, call: int
) -> None:
    stream = b"".join(turn(think, say, call))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert streamed(shape(**THINKING), *pieces) == streamed(shape(**THINKING), stream)
