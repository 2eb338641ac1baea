"""Batches as values: what is wrong with a line, states, when to ask again, whose turn it is."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.batch_turns import Turns
from appliance.policy.batches import (
    CANCELLED,
    ENDED,
    EXPIRED,
    Batch,
    Fault,
    Line,
    Reader,
    Status,
    answered,
    batch_from_json,
    next_up,
    result_of,
    unanswered,
    wait_for,
)

CHAT = "/v1/chat/completions"
GOOD = {"custom_id": "a", "method": "POST", "url": CHAT, "body": {"model": "chat", "messages": []}}


def batch(**more: Any) -> Batch:
    """A batch that has just been made."""
    made: dict[str, Any] = {
        "id": "batch_1", "owner": "anna", "team": "", "key_id": "key-1", "address": "127.0.0.1",
        "headers": (("x-appliance-data", "local-only"),), "endpoint": CHAT, "input_file_id": "file-1",
        "output": "file-2", "error": "file-3", "created_us": 5_000_000, "expires_at": 86_405,
    }  # fmt: skip
    return Batch(**{**made, **more})


def read(*lines: Any) -> list[Line | Fault | None]:
    """What a reader makes of lines."""
    reader = Reader(CHAT)
    said = (line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return [reader.read(line, number) for number, line in enumerate(said, 1)]


def test_a_line_is_its_id_and_its_body_and_a_blank_one_is_nothing() -> None:
    assert read(GOOD, b"  \r\n") == [Line(1, "a", b'{"model":"chat","messages":[]}'), None]


@pytest.mark.parametrize(
    ("line", "code", "param"),
    [
        (b"{", "invalid_json_line", None),
        (b"\xff", "invalid_json_line", None),
        ([1], "invalid_json_line", None),
        ({**GOOD, "custom_id": 5}, "missing_required_parameter", "custom_id"),
        ({**GOOD, "custom_id": ""}, "missing_required_parameter", "custom_id"),
        ({**GOOD, "custom_id": "x" * 513}, "missing_required_parameter", "custom_id"),
        ({**GOOD, "method": "GET"}, "invalid_method", "method"),
        ({**GOOD, "url": "/v1/embeddings"}, "invalid_url", "url"),
        ({**GOOD, "body": "x"}, "missing_required_parameter", "body"),
        ({**GOOD, "body": {}}, "missing_required_parameter", "body.model"),
        ({**GOOD, "body": {"model": 7}}, "missing_required_parameter", "body.model"),
        ({**GOOD, "body": {"model": "chat", "stream": True}}, "invalid_request", "body.stream"),
    ],
)
def test_what_is_wrong_with_a_line_names_the_line(line: Any, code: str, param: str | None) -> None:
    fault = read({**GOOD, "custom_id": "before"}, line)[1]
    assert isinstance(fault, Fault)
    assert (fault.code, fault.line, fault.param) == (code, 2, param)
    assert "ine 2" in fault.message


def test_a_custom_id_stands_once() -> None:
    fault = read(GOOD, {**GOOD, "custom_id": "b"}, GOOD)[2]
    assert isinstance(fault, Fault)
    assert (fault.code, fault.line) == ("duplicate_custom_id", 3)


def test_a_batch_survives_being_written_in_every_state() -> None:
    for status in Status:
        one = batch(metadata={"a": "b"}, faults=(CANCELLED,), reason=EXPIRED).moved(status, 9, total=3)
        assert batch_from_json(one.to_json()) == one
    for said in (b"{}", b"[]", b"{", batch().to_json().replace(b"validating", b"dreaming")):
        with pytest.raises(ValueError):
            batch_from_json(said)


def test_a_batch_is_shown_in_openais_form_with_nothing_of_ours() -> None:
    shown = batch().moved(Status.IN_PROGRESS, 7, total=2, completed=1).shown()
    assert (shown["status"], shown["created_at"], shown["in_progress_at"], shown["completed_at"]) == (
        "in_progress",
        5,
        7,
        None,
    )
    assert shown["request_counts"] == {"total": 2, "completed": 1, "failed": 0}
    assert shown["errors"] is None
    assert not {"key_id", "address", "owner", "headers"} & set(shown)


@pytest.mark.parametrize(
    ("ending", "status"),
    [(Status.CANCELLED, Status.CANCELLING), (Status.EXPIRED, Status.FINALIZING), (Status.FAILED, Status.FINALIZING)],
)
def test_a_batch_that_is_stopped_knows_what_it_becomes_and_why(ending: Status, status: Status) -> None:
    one = batch().stopped(ending, EXPIRED, 9)
    assert (one.status, one.ending, one.reason) == (status, ending, EXPIRED)
    assert one.faults == ((EXPIRED,) if ending is Status.FAILED else ())
    assert not one.ended
    assert one.moved(ending, 10).ended
    assert {Status.FAILED, Status.CANCELLED, Status.EXPIRED, Status.COMPLETED} == ENDED


@given(st.text(), st.integers(200, 599), st.binary(max_size=40) | st.just(b'{"a":\n1}'))
def test_a_result_is_one_line_that_says_whose_it_is(custom_id: str, status: int, body: bytes) -> None:
    line = answered("id", custom_id, status, "req-1", body)
    assert b"\n" not in line
    assert result_of(line) == (custom_id, status == 200)
    assert result_of(unanswered("id", custom_id, EXPIRED)) is None


@pytest.mark.parametrize(
    ("code", "hopeless", "after", "tries", "left", "wait"),
    [
        ("queue-full", False, None, 1, 9e4, 1),
        ("queue-full", False, None, 4, 9e4, 8),
        ("engine-unavailable", False, 30, 1, 9e4, 30),
        ("engine-unavailable", False, None, 400, 9e4, 60),
        ("rate-limited", False, 7, 1, 9e4, 7),
        ("rate-limited", True, 7, 1, 9e4, None),
        ("budget-exhausted", True, 3600, 1, 9e4, 1),
        ("budget-exhausted", True, 3600, 1, 60, None),
        ("budget-exhausted", True, None, 1, 9e4, None),
        ("budget-too-small", True, 3600, 1, 9e4, None),
        ("engine-stopped", False, None, 2, 9e4, 2),
        ("engine-stopped", False, None, 3, 9e4, None),
        ("context-too-long", False, None, 1, 9e4, None),
        ("model-not-allowed", False, None, 1, 9e4, None),
    ],
)
def test_what_passes_is_waited_for_and_nothing_else(
    code: str, hopeless: bool, after: int | None, tries: int, left: float, wait: float | None
) -> None:
    assert wait_for(code, hopeless, after, tries, left) == wait


def test_people_take_turns_and_of_one_person_the_oldest_batch_comes_first() -> None:
    waiting = [("anna", 1, "a"), ("anna", 2, "b"), ("ben", 3, "c")]
    assert next_up([], {}, {}) is None
    assert next_up(waiting, {}, {}) == ("anna", 1, "a")
    assert next_up(waiting, {}, {"anna": 1}) == ("ben", 3, "c")
    assert next_up(waiting, {"ben": 1}, {"anna": 5, "ben": 1}) == ("anna", 1, "a")


def test_turns_are_shared_evenly_and_never_more_than_there_are() -> None:
    """Anna has three batches, Ben one: both get as many lines."""
    had: Counter[str] = Counter()
    under_way = most = 0

    async def line(turns: Turns, who: tuple[str, int, str]) -> None:
        nonlocal under_way
        await asyncio.sleep(0)
        under_way -= 1
        turns.leave(who)

    async def deal(turns: Turns, who: tuple[str, int, str]) -> None:
        nonlocal under_way, most
        lines = []
        while sum(had.values()) < 200:
            await turns.enter(who)
            under_way += 1
            most = max(most, under_way)
            had[who[0]] += 1
            lines.append(asyncio.create_task(line(turns, who)))
        await asyncio.gather(*lines)

    async def test() -> None:
        turns = Turns(2)
        who = [("anna", 1, "a"), ("anna", 2, "b"), ("anna", 3, "c"), ("ben", 4, "d")]
        await asyncio.gather(*(deal(turns, one) for one in who))

    asyncio.run(test())
    assert most == 2
    assert abs(had["anna"] - had["ben"]) <= 5


def test_a_turn_that_nobody_waits_for_any_more_goes_to_the_next() -> None:
    async def test() -> None:
        turns = Turns(1)
        await turns.enter(("anna", 1, "a"))
        gone = asyncio.create_task(turns.enter(("ben", 2, "b")))
        late = asyncio.create_task(turns.enter(("cleo", 3, "c")))
        await asyncio.sleep(0)
        turns.leave(("anna", 1, "a"))
        # It was just given to Ben, who leaves in the same turn of the loop.
        gone.cancel()
        await asyncio.wait_for(late, 1)
        turns.leave(("cleo", 3, "c"))
        await asyncio.wait_for(turns.enter(("ben", 2, "b")), 1)

    asyncio.run(test())
