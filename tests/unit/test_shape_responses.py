"""The events and objects of OpenAI's Responses API, made from llama-server's chunks."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from appliance.errors import ApplianceError
from appliance.gateway.shapes.responses import ResponseShape
from appliance.policy.responses import read
from tests.unit.shaped import events, streamed, told, turn

ADAPTER: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def shape(**more: Any) -> ResponseShape:
    """The shape of an answer to a request with these fields."""
    return ResponseShape(read(json.dumps({"model": "chat", "input": "x", **more}).encode()), "smol", "req-7")


def kinds(found: list[dict[str, Any]]) -> list[str]:
    """The types of events, without what all have in common."""
    return [one["type"].removeprefix("response.") for one in found]


def test_words_are_one_message_whose_end_is_held_back() -> None:
    before, after = streamed(shape(), *turn(say=2, cached=8))
    assert kinds(before) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
    ]
    assert kinds(after) == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    response = after[-1]["response"]
    assert (response["id"], response["status"], response["store"]) == ("resp_7", "completed", False)
    assert response["output"][0]["content"][0]["text"] == "ü ü "
    assert response["usage"]["input_tokens_details"]["cached_tokens"] == 8
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (40, 2)


def test_every_event_is_one_that_the_official_client_knows_and_is_numbered() -> None:
    before, after = streamed(shape(), *turn(2, 2, 2, finish="tool_calls"))
    found = [*before, *after]
    for one in found:
        ADAPTER.validate_python(one)
    assert [one["sequence_number"] for one in found] == list(range(len(found)))
    items = [one["item"]["type"] for one in found if one["type"] == "response.output_item.added"]
    assert items == ["reasoning", "message", "function_call", "function_call"]
    ended = [one["item"] for one in found if one["type"] == "response.output_item.done"]
    assert ended == after[-1]["response"]["output"]
    assert [item["type"] for item in ended] == items


def test_only_the_last_item_ends_after_the_row_is_settled() -> None:
    before, after = streamed(shape(), *turn(1, 1, 2))
    assert kinds(before).count("output_item.done") == 3
    assert kinds(after) == ["function_call_arguments.done", "output_item.done", "completed"]
    assert (after[0]["arguments"], after[0]["name"]) == ('{"a":1}', "f")


def test_what_was_cut_off_is_incomplete() -> None:
    _, after = streamed(shape(), *turn(say=1, finish="length"))
    assert after[-1]["type"] == "response.incomplete"
    response = after[-1]["response"]
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["output"][0]["status"] == "incomplete"


def test_an_empty_answer_has_a_beginning_and_an_end() -> None:
    before, after = streamed(shape(), *turn())
    assert [*kinds(before), *kinds(after)] == ["created", "in_progress", "completed"]


def test_a_plain_answer_repeats_what_was_asked() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    choice = {
        "message": {"content": "", "reasoning_content": "hm", "tool_calls": [call]},
        "finish_reason": "tool_calls",
    }
    answer = told(
        shape(tools=[tool], temperature=0.5, instructions="Be brief", metadata={"a": "b"}),
        {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 3}},
    )
    Response.model_validate(answer)
    assert (answer["tools"], answer["temperature"], answer["instructions"]) == ([tool], 0.5, "Be brief")
    assert (answer["metadata"], answer["tool_choice"]) == ({"a": "b"}, "auto")
    assert [item["type"] for item in answer["output"]] == ["reasoning", "function_call"]
    assert (answer["output"][1]["call_id"], answer["output"][1]["arguments"]) == ("c", '{"a":1}')


def test_a_failure_is_an_error_event_and_a_failed_response() -> None:
    made = shape()
    made.add({"choices": [{"delta": {"content": "x"}}]})
    told_, failed = events(made.failure(ApplianceError("engine-stopped", "It stopped.", "Again."), "req-7"))
    assert (told_["type"], told_["code"], told_["message"]) == ("error", "engine-stopped", "It stopped. Again.")
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"]["code"] == "engine-stopped"
    ADAPTER.validate_python(told_)


@given(st.data(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_however_the_bytes_are_cut_the_events_are_the_same(
    data: st.DataObject, think: int, say: int, call: int
) -> None:
    stream = b"".join(turn(think, say, call))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    pieces = [stream[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    cut, whole = streamed(shape(), *pieces), streamed(shape(), stream)
    for one in [*cut[0], *cut[1], *whole[0], *whole[1]]:
        one.get("response", {}).pop("created_at", None)
    assert cut == whole


def test_a_response_tells_no_usage_before_it_is_whole() -> None:
    made = shape()
    begun = events(made.add({"choices": [{"delta": {"content": "x"}}]}))
    failed = events(made.failure(ApplianceError("engine-failed", "It failed.", "Again."), "req-7"))
    found = [one["response"] for one in [*begun, *failed] if "response" in one]
    assert {one["status"] for one in found} == {"in_progress", "failed"}
    assert {one["usage"] for one in found} == {None}
