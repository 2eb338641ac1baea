"""The audit log's chain: whatever is done to it without the key is found, and where."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit.chain import (
    KEY_BYTES,
    START,
    Anchor,
    Event,
    Fault,
    Link,
    Row,
    Trouble,
    anchor_text,
    chained,
    check,
    read_anchor,
)

KEY = bytes(range(KEY_BYTES))
TEXTS = st.text(max_size=20)
EVENTS = st.builds(
    Event, at=st.integers(0, 2**53), actor=TEXTS, action=TEXTS, target=TEXTS, request_id=TEXTS, facts=TEXTS
)
LOGS = st.lists(EVENTS, min_size=1, max_size=12)
# What SQLite may give back from a column that somebody else has written.
ANYTHING = st.one_of(TEXTS, st.integers(-(2**63), 2**63 - 1), st.none(), st.floats(allow_nan=False), st.binary())


def log(events: list[Event], begin: Link = START, key: bytes = KEY) -> list[Row]:
    """The events as rows of a log."""
    rows: list[Row] = []
    for event in events:
        rows.append(chained(key, rows[-1].link if rows else begin, event))
    return rows


def found(rows: list[Row], last: Link, noted: tuple[Link, ...] = ()) -> Fault | None:
    """What a walk finds, with the rows in the order in which the database gives them."""
    return check(KEY, Anchor(START, last), sorted(rows, key=lambda row: row.seq), noted).fault


@given(LOGS, st.integers(0, 12))
def test_a_log_that_nobody_touched_is_whole_also_when_it_is_ahead_of_its_anchor(events: list[Event], back: int) -> None:
    rows = log(events)
    places = [START, *(row.link for row in rows)]
    anchored = places[max(0, len(rows) - back)]
    checked = check(KEY, Anchor(START, anchored), rows, places)
    assert (checked.fault, checked.events, checked.last) == (None, len(rows), rows[-1].link)
    assert checked.ahead == len(rows) - anchored.seq


@given(LOGS, st.data())
def test_any_change_of_any_field_of_any_row_is_found(events: list[Event], data: st.DataObject) -> None:
    rows = log(events)
    place = data.draw(st.integers(0, len(rows) - 1))
    name = data.draw(st.sampled_from([field.name for field in fields(Row)]))
    old = getattr(rows[place], name)
    # A sequence number is an integer whatever is written to it, and one of its own.
    values = st.integers(-(2**63), 2**63 - 1) if name == "seq" else ANYTHING
    taken = {row.seq for row in rows}
    new = data.draw(values.filter(lambda value: (value not in taken) if name == "seq" else value is not old))
    if type(new) is type(old) and new == old:
        return
    changed: Any = {name: new}
    fault = found([*rows[:place], replace(rows[place], **changed), *rows[place + 1 :]], rows[-1].link)
    assert fault is not None
    if name != "seq":
        assert (fault.trouble, fault.seq) == (Trouble.EDITED, place + 1)


@given(LOGS, st.data())
def test_rows_that_are_gone_are_found_and_named(events: list[Event], data: st.DataObject) -> None:
    rows = log(events)
    first = data.draw(st.integers(0, len(rows) - 1))
    last = data.draw(st.integers(first, len(rows) - 1))
    trouble = Trouble.CUT if last == len(rows) - 1 else Trouble.MISSING
    assert found(rows[:first] + rows[last + 1 :], rows[-1].link) == Fault(trouble, first + 1, last + 1)


@given(LOGS, EVENTS, st.data())
def test_a_row_that_somebody_added_is_found(events: list[Event], event: Event, data: st.DataObject) -> None:
    rows = log(events)
    forged = chained(b"x" * KEY_BYTES, rows[-1].link, event)
    fault = found([*rows, forged], rows[-1].link)
    assert fault == Fault(Trouble.EDITED, len(rows) + 1, len(rows) + 1)
    below = data.draw(st.integers(-5, 0))
    assert found([replace(forged, seq=below), *rows], rows[-1].link) == Fault(Trouble.ADDED, below, below)


@given(LOGS, st.data())
def test_two_rows_that_changed_places_are_found(events: list[Event], data: st.DataObject) -> None:
    rows = log([*events, *events])
    place = data.draw(st.integers(0, len(rows) - 2))
    one, other = rows[place], rows[place + 1]
    swapped = [replace(other, seq=one.seq), replace(one, seq=other.seq)]
    assert found([*rows[:place], *swapped, *rows[place + 2 :]], rows[-1].link) == Fault(
        Trouble.EDITED, place + 1, place + 1
    )


@given(LOGS, EVENTS)
def test_a_log_that_was_written_anew_with_the_key_differs_from_the_anchor(events: list[Event], other: Event) -> None:
    rows, forged = log(events), log([other, *events[1:]])
    if rows[0] != forged[0]:
        fault = found(forged, rows[-1].link)
        assert fault == Fault(Trouble.REWRITTEN, len(rows), len(rows))


@given(LOGS, st.data())
def test_an_older_copy_of_table_and_anchor_is_found_only_by_a_place_that_was_noted_elsewhere(
    events: list[Event], data: st.DataObject
) -> None:
    rows = log(events)
    kept = data.draw(st.integers(0, len(rows) - 1))
    older = [START, *(row.link for row in rows)][kept]
    assert found(rows[:kept], older) is None
    assert found(rows[:kept], older, (rows[-1].link,)) == Fault(Trouble.CUT, kept + 1, len(rows))


@given(LOGS)
def test_a_log_that_begins_later_knows_that_what_was_before_it_is_not_on_it(events: list[Event]) -> None:
    begin = Link(100, "0" * 64)
    rows = log(events, begin)
    anchor = Anchor(begin, rows[-1].link)
    assert check(KEY, anchor, rows).fault is None
    assert check(KEY, anchor, rows[1:]).fault is not None
    assert check(KEY, anchor, rows, [Link(7, "a" * 64)]).fault == Fault(Trouble.MISSING, 7, 7)


def test_an_empty_log_is_whole() -> None:
    assert check(KEY, Anchor(START, START), []).fault is None


@given(LOGS, st.integers(0, 400), st.binary(min_size=1, max_size=1))
def test_an_anchor_is_read_back_and_any_changed_byte_of_it_is_found(events: list[Event], at: int, byte: bytes) -> None:
    anchor = Anchor(START, log(events)[-1].link)
    text = anchor_text(KEY, anchor)
    assert read_anchor(KEY, text) == anchor
    changed = text[: at % len(text)] + byte + text[at % len(text) + 1 :]
    try:
        same = json.loads(changed) == json.loads(text)
    except ValueError:
        same = False
    if not same:
        with pytest.raises(ValueError):
            read_anchor(KEY, changed)
    with pytest.raises(ValueError):
        read_anchor(b"x" * KEY_BYTES, text)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"null", b"\xff", b'{"begin":[0,1],"last":[0,""],"proof":""}'])
def test_what_is_no_anchor_is_not_taken_for_one(text: bytes) -> None:
    with pytest.raises(ValueError):
        read_anchor(KEY, text)


def test_every_fault_has_words() -> None:
    for trouble in Trouble:
        assert Fault(trouble, 3, 4).words.endswith(".")
