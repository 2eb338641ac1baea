"""Anthropic's stream as chunks of a chat completion: recorded streams, however they are cut."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cloud.anthropic_stream import AnthropicStream
from appliance.cloud.events import EndlessEventError, Events
from appliance.cloud.failures import Failures
from appliance.cloud.openai import OpenaiStream
from appliance.errors import ApplianceError
from appliance.gateway.assembly import ChatAssembly
from appliance.gateway.relay import Relay
from tests.unit.anthropic_streams import OVERLOADED, TEXT, THINKING, TOOLS
from tests.unit.streams import DONE, llama_stream

FAILURES = Failures("far", "sk-secret")
CUTS = st.lists(st.integers(min_value=0), max_size=40)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """The same bytes in pieces."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def translated(pieces: list[bytes]) -> bytes:
    """The stream of chunks."""
    stream = AnthropicStream(FAILURES, 1_700_000_000)
    return b"".join([*map(stream.feed, pieces), stream.end()])


def chunks(data: bytes) -> list[dict[str, Any]]:
    """The JSON of the chunks, all but the closing event."""
    events = data.split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    return [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]


def assembled(data: bytes) -> Any:
    """The plain answer."""
    assembly = ChatAssembly()
    usage: dict[str, Any] = {}
    for chunk in chunks(data):
        usage = chunk.get("usage") or usage
        assembly.add(chunk)
    return json.loads(assembly.body(usage))


def test_an_answer_in_words() -> None:
    told = chunks(translated([TEXT]))
    assert told[0]["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    assert {(one["id"], one["model"], one["object"]) for one in told} == {
        ("msg_01XFDUDYJgAACzvnptvVoYEL", "claude-sonnet-4-20250514", "chat.completion.chunk")
    }
    answer = assembled(translated([TEXT]))
    assert answer["choices"][0]["message"]["content"] == 'Hello wörld: "finish_reason"'
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {
        "prompt_tokens": 25 + 3 + 40,
        "completion_tokens": 15,
        "total_tokens": 83,
        "prompt_tokens_details": {"cached_tokens": 40},
    }


def test_calls_of_tools_come_in_pieces() -> None:
    (choice,) = assembled(translated([TOOLS]))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Okay"
    assert choice["message"]["tool_calls"] == [
        {
            "id": "toolu_01T1x1fJ34qAmk2tNTrN7Up6",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"location": "Paris"}'},
        },
        {"id": "toolu_02", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]


def test_thoughts_are_told_apart_and_later_counts_win() -> None:
    answer = assembled(translated([THINKING]))
    (choice,) = answer["choices"]
    assert (choice["message"]["reasoning_content"], choice["message"]["content"]) == ("Let me see", "42")
    assert choice["finish_reason"] == "length"
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (11, 30)


@given(st.sampled_from([TEXT, TOOLS, THINKING]), CUTS, st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_a_stream_is_the_same_however_it_is_cut_and_ends_its_lines(data: bytes, cuts: list[int], end: bytes) -> None:
    assert translated(pieces_of(data.replace(b"\n", end), cuts)) == translated([data])


@given(st.sampled_from([TEXT, TOOLS, THINKING]), CUTS)
def test_the_gateway_relays_and_counts_it(data: bytes, cuts: list[int]) -> None:
    relay, stream = Relay(wants_usage=False), AnthropicStream(FAILURES, 0)
    out = b"".join(relay.feed(stream.feed(piece)) for piece in pieces_of(data, cuts))
    out += relay.feed(stream.end()) + relay.end()
    relay.tally.close()
    assert relay.done
    assert relay.tally.exact
    assert b"finish_reason" in relay.tail()
    assert b'"finish_reason":"' not in out
    assert b'"usage"' not in out + relay.tail()


@given(st.integers(0, len(TEXT) - 3))
def test_a_stream_without_its_end_is_no_answer(length: int) -> None:
    with pytest.raises(ApplianceError) as caught:
        translated([TEXT[:length]])
    assert caught.value.code == "cloud-failed"


@given(CUTS)
def test_a_failure_in_mid_stream_is_an_error_of_its_own(cuts: list[int]) -> None:
    with pytest.raises(ApplianceError) as caught:
        translated(pieces_of(OVERLOADED, cuts))
    assert caught.value.code == "cloud-unavailable"
    assert "Overloaded" in caught.value.sentence


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"1", b"{}", b'{"type":"message_start"}', b'{"type":"content_block_delta","index":0}']
)
def test_what_is_no_event_is_refused(data: bytes) -> None:
    with pytest.raises(ApplianceError) as caught:
        translated([b"data: " + data + b"\n\n"])
    assert caught.value.code == "cloud-failed"


@given(st.binary(max_size=200), CUTS)
def test_any_bytes_give_an_answer_or_an_error(data: bytes, cuts: list[int]) -> None:
    with pytest.raises(ApplianceError):
        translated(pieces_of(data, cuts))
    stream = OpenaiStream(FAILURES)
    try:
        b"".join([*map(stream.feed, pieces_of(data, cuts)), stream.end()])
    except ApplianceError:
        return
    assert b"[DONE]" in data, "what does not say that it is at its end is no answer"


@given(st.lists(st.text(max_size=8), max_size=6), CUTS)
def test_a_stream_of_openais_passes_as_it_is(words: list[str], cuts: list[int]) -> None:
    data = b"".join(llama_stream(words))
    stream = OpenaiStream(FAILURES)
    assert b"".join([*map(stream.feed, pieces_of(data, cuts)), stream.end()]) == data


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (b'{"error":{"message":"boom sk-secret","type":"server_error"}}', "cloud-failed"),
        (b'{"error":"boom sk-secret"}', "cloud-failed"),
        (b'{"error":{"message":"slow down sk-secret","code":"rate_limit_exceeded"}}', "cloud-limit"),
        (b'{"error":{"message":"sk-secret","type":"authentication_error"}}', "cloud-key-refused"),
    ],
)
def test_a_failure_that_openais_stream_reports_is_raised_without_the_key(event: bytes, code: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        OpenaiStream(FAILURES).feed(b"data: " + event + b"\n\n")
    assert caught.value.code == code
    assert "sk-secret" not in caught.value.sentence + caught.value.hint


def test_words_about_errors_are_no_error() -> None:
    event = b'data: {"choices":[{"delta":{"content":"an \\"error\\""}}],"error":null}\n\n'
    assert OpenaiStream(FAILURES).feed(event + DONE) == event + DONE


def test_an_event_without_an_end_does_not_fill_the_memory() -> None:
    for piece in (b"data: " + b"x" * 100_000, b"data: " + b"x" * 100_000 + b"\n"):
        events = Events()
        with pytest.raises(EndlessEventError):
            for _ in range(100):
                events.feed(piece)
    with pytest.raises(ApplianceError) as caught:
        AnthropicStream(FAILURES, 0).feed(b"data: " + b"x" * 2_000_000)
    assert caught.value.code == "cloud-failed"
