"""The terms of a key, as an admin words them: each is checked here, and put into the form that is stored.

Every function raises wrong-use, with what to write instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

from appliance.errors import ApplianceError
from appliance.policy.addresses import network

ENDPOINTS: Final = (
    "chat",
    "completions",
    "embeddings",
    "rerank",
    "responses",
    "messages",
    "batches",
    "files",
    "models",
    "metrics",
)
PRIORITIES: Final = ("chat", "api", "background", "batch")

_LONGEST_NAME: Final = 200
_MOST: Final = 100
# A hundred years: whoever wants longer wants no end.
_LONGEST_S: Final = 36_525 * 86_400
_LONGEST_OVERLAP_S: Final = 90 * 86_400
_UNITS: Final = {"s": 1, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DURATION: Final = re.compile(r"([0-9]{1,12}) ?(s|min|h|d|w)")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def name(text: str, whose: str) -> str:
    """The name of an `owner` or a `team`: 1 to 200 printable characters, without blanks around them.

    One way of writing accents: whoever shuts somebody out may type on another keyboard.
    """
    said = unicodedata.normalize("NFC", text.strip())
    if not 1 <= len(said) <= _LONGEST_NAME or not said.isprintable():
        raise _wrong(
            f"The name of the {whose} must have 1 to {_LONGEST_NAME} printable characters.",
            f"Use --{whose} NAME, for example --{whose} {'anna' if whose == 'owner' else 'sales'}.",
        )
    return said


def models(names: Iterable[str]) -> str:
    """Model names, as stored."""
    for one in names:
        if not 1 <= len(one) <= _LONGEST_NAME or not one.isprintable() or " " in one:
            raise _wrong(
                f"'{_shown(one)}' cannot be the name of a model: that has 1 to {_LONGEST_NAME} characters, no blanks.",
                "See the names with `appliance models list`; give --model once for each.",
            )
    return _words(names, "model")


def endpoints(names: Iterable[str]) -> str:
    """Endpoints out of the known list, as stored."""
    for one in names:
        if one not in ENDPOINTS:
            raise _wrong(f"There is no endpoint '{_shown(one)}'.", f"Use --endpoint with: {', '.join(ENDPOINTS)}.")
    return _words(names, "endpoint")


def addresses(texts: Iterable[str]) -> str:
    """Addresses and networks, as stored: each in its shortest form."""
    found = []
    for text in texts:
        try:
            found.append(str(network(text.strip())))
        except ValueError as error:
            raise _wrong(
                f"--address: {_shown(str(error))}.",
                "Use --address 192.168.1.7, or --address 192.168.1.0/24 for all that begin with 192.168.1.",
            ) from error
    return _words(found, "address")


def priority(text: str) -> str:
    """A class of the fair queue."""
    if text not in PRIORITIES:
        raise _wrong(f"There is no priority '{_shown(text)}'.", f"Use --priority with: {', '.join(PRIORITIES)}.")
    return text


def expiry(text: str, now_us: int) -> int:
    """The instant from which a key is refused, in microseconds since 1970 UTC.

    `text` is a time from now (`90d`, `12h`), or the last day on which the key works (`2027-01-31`, in UTC).
    """
    said = text.strip()
    seconds = _seconds(said)
    if seconds is not None:
        at = now_us + seconds * 1_000_000
    elif _DATE.fullmatch(said):
        at = _end_of_day(said)
    else:
        raise _wrong(f"'{_shown(said)}' is no expiry.", "Use --expires 90d, --expires 12h or --expires 2027-01-31.")
    if at <= now_us:
        raise _wrong(f"An expiry of {said} is in the past.", "Give a later one, for example --expires 90d.")
    if at > now_us + _LONGEST_S * 1_000_000:
        raise _wrong(f"An expiry of {said} is more than 100 years away.", "Leave --expires out for a key without end.")
    return at


def overlap(text: str) -> int:
    """How long a replaced key still works, in seconds: `7d`, `12h`, `0s`."""
    seconds = _seconds(text.strip())
    if seconds is None or seconds > _LONGEST_OVERLAP_S:
        raise _wrong(
            f"'{_shown(text)}' is no overlap.", "Use --overlap 7d, --overlap 12h or --overlap 0s; at most 90d."
        )
    return seconds


def _seconds(text: str) -> int | None:
    found = _DURATION.fullmatch(text)
    return None if found is None else int(found[1]) * _UNITS[found[2]]


def _end_of_day(text: str) -> int:
    try:
        day = date.fromisoformat(text)
        following = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise _wrong(f"There is no day {text}.", "Use --expires with year, month and day, as 2027-01-31.") from error
    return int(following.timestamp()) * 1_000_000


def _words(names: Iterable[str], what: str) -> str:
    """Words with a space between, each once; the order says nothing."""
    found = sorted(set(names))
    if len(found) > _MOST:
        raise _wrong(f"A key takes at most {_MOST} times --{what}.", f"Leave --{what} out to allow all of them.")
    return " ".join(found)


def _shown(text: str) -> str:
    """What somebody typed, safe to show again."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])


def _wrong(sentence: str, hint: str) -> ApplianceError:
    return ApplianceError("wrong-use", sentence, hint)
