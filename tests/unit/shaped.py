"""Answers in other shapes, made from streams of chat completions."""

from __future__ import annotations

import json
from typing import Any

from appliance.gateway.events import DONE as LAST
from appliance.gateway.events import Splitter, Tally, parsed
from appliance.gateway.shapes.parts import as_chunk
from appliance.gateway.shapes.shape import Shape
from tests.unit.streams import DONE, chunk, timings, usage

CALL = {"id": "c1", "type": "function"}


def turn(think: int = 0, say: int = 0, call: int = 0, finish: str = "stop", cached: int = 0) -> list[bytes]:
    """A whole answer of llama-server: so many thoughts, words, and calls, each of the latter in three pieces."""
    made = [chunk({"role": "assistant", "content": None})]
    made += [chunk({"reasoning_content": "hm "}) for _ in range(think)]
    made += [chunk({"content": "ü "}) for _ in range(say)]
    for place in range(call):
        begun = {"index": place, "id": f"c{place}", "type": "function", "function": {"name": "f", "arguments": ""}}
        made.append(chunk({"tool_calls": [begun]}))
        made += [chunk({"tool_calls": [{"index": place, "function": {"arguments": arg}}]}) for arg in ('{"a"', ":1}")]
    if len(made) > 1:
        made[1] = made[1].replace(
            b'"object"', b'"timings":' + json.dumps(timings(1, 32, cached)).encode() + b',"object"'
        )
    return [*made, chunk({}, finish=finish), usage(32 + cached, think + say + call, cached), DONE]


def events(said: bytes) -> list[dict[str, Any]]:
    """The data of events; each must be named by its type."""
    found = []
    for block in said.decode().split("\n\n")[:-1]:
        name, _, data = block.partition("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def streamed(shape: Shape, *pieces: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The events that go out before the row is settled, and those after."""
    splitter, tally, said, done = Splitter(), Tally(), b"", False
    for piece in pieces:
        for one in splitter.feed(piece):
            done = done or one == LAST
            found = parsed(one)
            if found is None:
                continue
            if found.get("usage"):
                tally.usage(found["usage"])
            said += shape.add(found)
    assert done
    return events(said), events(shape.end(tally))


def told(shape: Shape, completion: dict[str, Any]) -> Any:
    """The plain answer for a plain chat completion."""
    tally = Tally()
    tally.usage(completion["usage"])
    shape.add(as_chunk(completion))
    return json.loads(shape.whole(tally))
