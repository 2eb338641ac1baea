"""The chain of the audit log, pure: each event's mac covers the event and the mac before it.

HMAC-SHA256 under a key that is not in the database. Whoever edits, removes or adds a row without the
key breaks the chain there; the anchor, kept outside the table, tells how far the chain goes, so
that a cut tail is found too.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

KEY_BYTES = 32


class Link(NamedTuple):
    """A place in the chain: an event's sequence number and its mac, 64 hex digits."""

    seq: int
    mac: str


START = Link(0, "0" * 64)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, not yet chained. `at` in microseconds since 1970 UTC, `facts` a JSON object as text."""

    at: int
    actor: str
    action: str
    target: str
    request_id: str
    facts: str


@dataclass(frozen=True, slots=True)
class Row:
    """An event as it stands in the table; the fields are its columns."""

    seq: int
    at: int
    actor: str
    action: str
    target: str
    request_id: str
    facts: str
    mac: str

    @property
    def link(self) -> Link:
        return Link(self.seq, self.mac)


@dataclass(frozen=True, slots=True)
class Anchor:
    """How far the chain goes: `begin` is the place before its first event, `last` that of its newest."""

    begin: Link
    last: Link


class Trouble(StrEnum):
    """What can be wrong with an audit log."""

    EDITED = "edited"
    MISSING = "missing"
    ADDED = "added"
    CUT = "cut tail"
    REWRITTEN = "rewritten"
    KEY_MISSING = "key missing"
    ANCHOR_MISSING = "anchor missing"
    ANCHOR_EDITED = "anchor edited"


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong, and where: events `seq` to `until`."""

    trouble: Trouble
    seq: int
    until: int

    @property
    def words(self) -> str:
        """What is wrong, as a sentence."""
        place = f"Event {self.seq}" if self.seq == self.until else f"Events {self.seq} to {self.until}"
        return {
            Trouble.EDITED: f"{place} is not what was put on record: it was edited, or the key is another one.",
            Trouble.MISSING: f"{place}: missing, while later ones are there.",
            Trouble.ADDED: f"{place} has no place in the log: it was added by something else.",
            Trouble.CUT: f"{place}: missing at the end of the log; they were on record.",
            Trouble.REWRITTEN: f"{place} is another one than the log's anchor or a noted place says.",
            Trouble.KEY_MISSING: "The log's key is missing or damaged, so that nothing of the log can be verified.",
            Trouble.ANCHOR_MISSING: "The log's anchor is missing, so that nobody can say whether its end was cut off.",
            Trouble.ANCHOR_EDITED: "The log's anchor is not what the appliance wrote, or belongs to another key.",
        }[self.trouble]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a walk over the chain found. `ahead` counts the events after the anchor."""

    events: int
    last: Link
    ahead: int
    fault: Fault | None


def chained(key: bytes, before: Link, event: Event) -> Row:
    """The event as the next row after `before`."""
    unsealed = Row(before.seq + 1, event.at, event.actor, event.action, event.target, event.request_id, event.facts, "")
    return replace(unsealed, mac=_mac(key, before.mac, unsealed))


def check(key: bytes, anchor: Anchor, rows: Iterable[Row], noted: Iterable[Link] = ()) -> Checked:
    """Walk all rows, in the order of `seq`, up to the first fault. `noted` are places that must be on the chain."""
    must = dict([*noted, anchor.last])
    furthest = max(must)
    early = [seq for seq in must if START.seq < seq <= anchor.begin.seq and seq != anchor.last.seq]
    if early:
        return Checked(0, anchor.begin, 0, Fault(Trouble.MISSING, min(early), max(early)))
    last, events = anchor.begin, 0
    for row in rows:
        fault = _fault(key, last, row, must.get(row.seq, row.mac))
        if fault is not None:
            return Checked(events, last, 0, fault)
        last, events = row.link, events + 1
    if last.seq < furthest:
        return Checked(events, last, 0, Fault(Trouble.CUT, last.seq + 1, furthest))
    return Checked(events, last, last.seq - anchor.last.seq, None)


def _fault(key: bytes, last: Link, row: Row, noted: str) -> Fault | None:
    """What is wrong with a row that comes after `last`; `noted` is the mac that it must have."""
    if row.seq <= last.seq:
        return Fault(Trouble.ADDED, row.seq, row.seq)
    if row.seq > last.seq + 1:
        return Fault(Trouble.MISSING, last.seq + 1, row.seq - 1)
    if not _plain(row) or not _same(row.mac, _mac(key, last.mac, row)):
        return Fault(Trouble.EDITED, row.seq, row.seq)
    return None if _same(row.mac, noted) else Fault(Trouble.REWRITTEN, row.seq, row.seq)


def anchor_text(key: bytes, anchor: Anchor) -> bytes:
    """The anchor as its file holds it."""
    held = {"begin": [*anchor.begin], "last": [*anchor.last], "proof": _proof(key, anchor)}
    return (json.dumps(held) + "\n").encode()


def read_anchor(key: bytes, text: bytes) -> Anchor:
    """The anchor that a file holds. Raises ValueError when it was not written under this key."""
    anchor, proof = parse_anchor(text)
    if not _same(proof, _proof(key, anchor)):
        raise ValueError("the anchor's proof does not fit")
    return anchor


def parse_anchor(text: bytes) -> tuple[Anchor, str]:
    """An anchor as it is said to be, and its proof. Raises ValueError for anything else."""
    held: Any = json.loads(text)
    try:
        (begin, begin_mac), (last, last_mac), proof = held["begin"], held["last"], held["proof"]
    except (TypeError, KeyError) as error:
        raise ValueError("not an anchor") from error
    texts, numbers = (begin_mac, last_mac, proof), (begin, last)
    if not all(isinstance(one, str) for one in texts) or not all(type(one) is int for one in numbers):
        raise ValueError("not an anchor")
    return Anchor(Link(begin, begin_mac), Link(last, last_mac)), proof


def head_proof(key: bytes, link: Link) -> str:
    """What shows that a place of the chain was noted by the appliance: for the gateway's log."""
    return _hmac(key, b"audit head 1", [*link])


def _plain(row: Row) -> bool:
    """Whether a row holds what the table is for: SQLite would let anything into a column."""
    numbers, texts = (row.seq, row.at), (row.actor, row.action, row.target, row.request_id, row.facts, row.mac)
    return all(type(one) is int for one in numbers) and all(isinstance(one, str) for one in texts)


def _proof(key: bytes, anchor: Anchor) -> str:
    return _hmac(key, b"audit anchor 1", [[*anchor.begin], [*anchor.last]])


def _mac(key: bytes, before: str, row: Row) -> str:
    fields = [row.seq, row.at, row.actor, row.action, row.target, row.request_id, row.facts]
    return _hmac(key, b"audit event 1", [before, *fields])


def _hmac(key: bytes, domain: bytes, values: list[Any]) -> str:
    """JSON in ASCII tells every list of values from every other; the domain, one use of the key from another."""
    text = json.dumps(values, ensure_ascii=True, separators=(",", ":"))
    return hmac.new(key, domain + b"\n" + text.encode(), hashlib.sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))
