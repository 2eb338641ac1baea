"""A stream on its way to the client: the same however it is cut, and never complete before it is on record."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.gateway.events import usage_of
from appliance.gateway.relay import Relay
from tests.unit.streams import DONE, chunk, event, llama_stream, timings, usage

TRICKY = [
    '"finish_reason":"stop"',
    ',"timings":{"a":1}}',
    "data: [DONE]",
    "\n\ndata: x\n\n",
    '"usage":{"x":1}',
    '{"error"',
    "ü\r\n",
]
WORDS = st.lists(st.sampled_from(TRICKY) | st.text(max_size=8), max_size=6)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def relayed(pieces: list[bytes], wants_usage: bool = False) -> tuple[bytes, bytes, Relay]:
    """What goes out at once, what is held, and the relay."""
    relay = Relay(wants_usage)
    out = b"".join(relay.feed(piece) for piece in pieces)
    return out, relay.tail(), relay


def data_of(sent: bytes) -> list[Any]:
    """The JSON of each event but the closing one."""
    events = [one for one in sent.split(b"\n\n") if one]
    assert all(one.startswith(b"data: ") for one in events)
    return [json.loads(one[6:]) for one in events if one != b"data: [DONE]"]


def text_of(chunks: list[Any]) -> str:
    """The answer's text."""
    return "".join(choice["delta"].get("content") or "" for one in chunks for choice in one["choices"])


@given(WORDS, st.lists(st.integers(min_value=0)), st.booleans())
def test_a_stream_is_the_same_however_it_is_cut(words: list[str], cuts: list[int], wants_usage: bool) -> None:
    data = b"".join(llama_stream(words))
    out, tail, whole = relayed([data], wants_usage)
    cut_out, cut_tail, cut = relayed(pieces_of(data, cuts), wants_usage)
    assert (cut_out, cut_tail, cut.done) == (out, tail, True)
    assert (cut.tally.prompt, cut.tally.completion) == (whole.tally.prompt, whole.tally.completion) == (32, len(words))


@given(WORDS, st.lists(st.integers(min_value=0)), st.booleans())
def test_the_client_sees_every_word_and_none_of_our_timings(
    words: list[str], cuts: list[int], wants_usage: bool
) -> None:
    out, tail, _ = relayed(pieces_of(b"".join(llama_stream(words)), cuts), wants_usage)
    seen = data_of(out + tail)
    assert text_of(seen) == "".join(words)
    assert not any("timings" in one for one in seen)
    assert [one["choices"][0]["finish_reason"] for one in data_of(out)] == [None] * (len(words) + 1)
    assert data_of(tail)[0]["choices"][0]["finish_reason"] == "stop"
    assert tail.endswith(DONE)
    assert sum("usage" in one for one in seen) == wants_usage


def test_once_the_end_has_begun_nothing_goes_out_before_the_row_is_settled() -> None:
    relay = Relay(wants_usage=True)
    assert relay.feed(chunk({"content": "a"})) == chunk({"content": "a"})
    held = [chunk({"content": "b"}, finish="length"), chunk({"content": "late"}), usage(3, 2), DONE]
    assert [relay.feed(one) for one in held] == [b""] * 4
    assert relay.tail() == b"".join(held)


def test_the_end_is_found_where_the_engine_puts_spaces() -> None:
    spaced = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    out, tail, relay = relayed([chunk({"content": "a"}), spaced, DONE])
    assert (out, tail, relay.done) == (chunk({"content": "a"}), spaced + DONE, True)


def test_an_engine_that_ends_lines_as_windows_does_is_understood() -> None:
    stream = llama_stream(["a\r\nb", "c"])
    windows = b"".join(stream).replace(b"\n\n", b"\r\n\r\n")
    assert relayed(pieces_of(windows, list(range(len(windows)))))[:2] == relayed(stream)[:2]


def test_a_chunk_that_only_tells_usage_is_hidden_unless_it_was_asked_for() -> None:
    stream = [chunk({"content": "a"}), chunk({}, finish="stop"), usage(7, 1, cached=3), DONE]
    _, hidden, relay = relayed(stream)
    _, shown, _ = relayed(stream, wants_usage=True)
    assert hidden == stream[1] + DONE
    assert shown == stream[1] + stream[2] + DONE
    tally = relay.tally
    assert (tally.prompt, tally.cached, tally.completion, tally.exact) == (7, 3, 1, True)


def test_usage_in_the_last_chunk_of_the_answer_counts_and_stays() -> None:
    last = chunk({"content": "b"}, finish="stop", usage={"prompt_tokens": 5, "completion_tokens": 2})
    _, tail, relay = relayed([chunk({"content": "a"}), last, DONE])
    assert tail == last + DONE
    assert (relay.tally.prompt, relay.tally.completion) == (5, 2)


def test_a_stream_that_was_cut_off_is_counted_by_its_last_timings() -> None:
    stream = llama_stream(["a", "b", "c"])[:3]
    _, _, relay = relayed([*stream, chunk({"content": "c"}, timings=timings(3, prompt=4, cached=28))[:-5]])
    relay.tally.close()
    tally = relay.tally
    assert (tally.prompt, tally.cached, tally.completion, tally.exact) == (32, 0, 2, True)
    assert not relay.done


def test_what_was_in_the_cache_is_part_of_the_prompt() -> None:
    _, _, relay = relayed([chunk({"content": "a"}, timings=timings(1, prompt=4, cached=28))])
    relay.tally.close()
    assert (relay.tally.prompt, relay.tally.cached) == (32, 28)


def test_without_timings_a_cut_off_stream_is_counted_by_its_chunks() -> None:
    opening = chunk({"role": "assistant"})
    pieces = [b": a comment\n\n", chunk({"content": "a"}), b": another\n\n", chunk({"content": "b"})]
    _, _, relay = relayed([opening, *pieces])
    relay.tally.close()
    assert (relay.tally.prompt, relay.tally.completion, relay.tally.exact) == (0, 2, False)


@pytest.mark.parametrize(
    "failure",
    [b'data: {"error":{"message":"boom"}}\n\n', b'error: {"message":"boom"}\n\n', b'data: {"object":"error"}\n\n'],
)
def test_a_failure_in_mid_answer_stops_the_relay_and_is_not_passed_on(failure: bytes) -> None:
    out, tail, relay = relayed([chunk({"content": "a"}) + failure + chunk({"content": "b"})])
    assert (out, tail) == (chunk({"content": "a"}), b"")
    assert relay.error == failure.removesuffix(b"\n\n")
    assert not relay.done


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"prompt_tokens": None, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 2**70},
        {"prompt_tokens": "1", "completion_tokens": 1.5},
        {"prompt_tokens": True, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": "all"}},
    ],
)
def test_a_usage_that_is_no_count_is_not_believed(told: dict[str, Any]) -> None:
    stream = [chunk({"role": "assistant"}), chunk({"content": "a"}), chunk({}, finish="stop")]
    _, _, relay = relayed([*stream, event({"choices": [], "usage": told}), DONE])
    relay.tally.close()
    assert (relay.tally.prompt, relay.tally.completion, relay.tally.exact) == (0, 1, False)
    assert relay.done


@pytest.mark.parametrize("told", [[], "many", 7, None, {"prompt_tokens": 1, "prompt_tokens_details": []}])
def test_a_usage_of_any_shape_does_no_harm(told: Any) -> None:
    relay = Relay(wants_usage=False)
    relay.tally.usage(told)
    relay.tally.close()
    assert relay.tally.completion == 0


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"data: ", b"\n\n", b'{"usage":{}}', b',"timings":{}}', b'"finish_reason":"'])
    )
)
def test_no_bytes_of_an_engine_make_the_relay_stumble(pieces: list[bytes]) -> None:
    relay = Relay(wants_usage=False)
    for piece in pieces:
        relay.feed(piece)
    relay.tail()
    relay.tally.close()
    assert min(relay.tally.prompt, relay.tally.cached, relay.tally.completion) >= 0


@pytest.mark.parametrize(
    "stream", [b'data:{"choices":[{"delta":{"content":"a"}}]}\n\ndata:[DONE]\n\n', b"data: [DONE]"]
)
def test_a_missing_space_or_last_empty_line_does_not_lose_the_end(stream: bytes) -> None:
    relay = Relay(wants_usage=False)
    relay.feed(stream)
    relay.end()
    assert relay.done


def test_an_event_without_an_end_is_a_failure_and_not_our_memory() -> None:
    relay = Relay(wants_usage=False)
    with pytest.raises(ApplianceError) as failed:
        for _ in range(20):
            relay.feed(b"x" * 1024 * 1024)
    assert failed.value.code == "engine-failed"


def text_chunk(text: str, finish: str | None = None, **more: Any) -> bytes:
    """One chunk of a text completion, in llama-server's order of fields."""
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    return event({"choices": [choice], "created": 1, "model": "smol", "object": "text_completion", "id": "x", **more})


def test_a_text_completion_is_counted_from_its_first_event_and_its_end_is_held() -> None:
    stream = [text_chunk("a", timings=timings(1)), text_chunk("b", timings=timings(2))]
    told = {"prompt_tokens": 32, "completion_tokens": 2, "total_tokens": 34}
    relay = Relay(wants_usage=True, opening=0)
    out = b"".join(map(relay.feed, stream))
    assert out == text_chunk("a") + text_chunk("b")
    relay.tally.close()
    assert (relay.tally.prompt, relay.tally.completion, relay.tally.exact) == (32, 2, True)
    assert relay.feed(text_chunk("", "stop", usage=told, timings=timings(2)) + DONE) == b""
    assert relay.tail() == text_chunk("", "stop", usage=told) + DONE
    assert relay.done


def test_a_text_completion_without_counts_is_counted_by_its_events() -> None:
    relay = Relay(wants_usage=False, opening=0)
    relay.feed(text_chunk("a") + text_chunk("b"))
    relay.tally.close()
    assert (relay.tally.completion, relay.tally.exact) == (2, False)


@pytest.mark.parametrize("long", [0, 100_000])
@pytest.mark.parametrize("first", [True, False])
def test_the_usage_of_a_plain_answer_is_found_wherever_it_stands(long: int, first: bool) -> None:
    told = {"prompt_tokens": 3, "total_tokens": 3, "details": {"a": [1, {"b": "}"}]}}
    data: dict[str, Any] = {"data": ['"usage":{"prompt_tokens":9}', "x" * long]}
    whole = {"usage": told, **data} if first else {**data, "usage": told}
    assert usage_of(json.dumps(whole).encode()) == told
    assert usage_of(json.dumps(whole, separators=(",", ":")).encode()) == told


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"garbage", b"x" * 100_000, b'{"usage":' + b" " * 100_000])
def test_an_answer_without_usage_has_none(body: bytes) -> None:
    assert usage_of(body) is None
