"""A plain answer, put together from a stream."""

from __future__ import annotations

import json
from typing import Any

from appliance.gateway.assembly import ChatAssembly, TextAssembly
from appliance.gateway.events import parsed
from tests.unit.streams import chunk, llama_stream

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def assembled(*events: bytes) -> Any:
    """The completion that events come to."""
    assembly = ChatAssembly()
    for one in events:
        found = parsed(one.removesuffix(b"\n\n"))
        if found is not None:
            assembly.add(found)
    return json.loads(assembly.body(USAGE))


def test_words_become_one_answer_in_openais_shape() -> None:
    answer = assembled(*llama_stream(["Hel", "lo", " ü"]))
    assert answer == {
        "id": "chatcmpl-x",
        "created": 1,
        "model": "smol",
        "system_fingerprint": "b1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello ü", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }


def test_an_empty_answer_is_an_empty_text() -> None:
    answer = assembled(chunk({"role": "assistant", "content": None}), chunk({}, finish="stop"))
    assert answer["choices"][0]["message"]["content"] == ""


def test_reasoning_is_kept_apart_from_the_answer() -> None:
    answer = assembled(
        chunk({"reasoning_content": "Hm"}), chunk({"reasoning_content": "..."}), chunk({"content": "Yes"}, "stop")
    )
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"], message["content"]) == ("Hm...", "Yes")


def call(index: int, arguments: str, **more: Any) -> bytes:
    """A piece of a tool call."""
    name = more.pop("name", None)
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return chunk({"tool_calls": [{"index": index, "function": function, **more}]})


def test_tool_calls_come_together_from_their_pieces() -> None:
    answer = assembled(
        chunk({"role": "assistant", "content": None}),
        call(0, "", id="a", type="function", name="weather"),
        call(0, '{"city":'),
        call(1, '{"x"', id="b", type="function", name="sum"),
        call(0, '"Rome"}'),
        call(1, ":1}"),
        chunk({}, finish="tool_calls"),
    )
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}},
        {"id": "b", "type": "function", "function": {"name": "sum", "arguments": '{"x":1}'}},
    ]


def test_logprobs_of_all_tokens_are_kept_in_order() -> None:
    def piece(word: str) -> dict[str, Any]:
        token = {"token": word, "logprob": -0.5, "bytes": [1], "top_logprobs": []}
        return {"choices": [{"index": 0, "delta": {"content": word}, "logprobs": {"content": [token]}}]}

    assembly = ChatAssembly()
    for word in "ab":
        assembly.add(piece(word))
    answer = json.loads(assembly.body(USAGE))
    assert [token["token"] for token in answer["choices"][0]["logprobs"]["content"]] == ["a", "b"]


def test_pieces_of_a_text_become_one_completion() -> None:
    assembly = TextAssembly()
    head = {"id": "cmpl-x", "created": 1, "model": "smol", "system_fingerprint": "b1"}
    for text, finish in (("Hel", None), ("lo", None), ("", "length")):
        assembly.add({**head, "choices": [{"text": text, "index": 0, "finish_reason": finish}]})
    assembly.add({**head, "choices": []})
    assert json.loads(assembly.body(USAGE)) == {
        **head,
        "object": "text_completion",
        "choices": [{"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "length"}],
        "usage": USAGE,
    }
