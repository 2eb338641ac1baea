"""What a password must be: long enough, not one that attackers try first, and not made of what everybody knows of them.

There are no rules on capitals, figures and signs: they make passwords that people forget, and that programs guess.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from appliance.errors import ApplianceError
from appliance.policy.common_passwords import WALKS, WORDS

# Characters, after NFC. The upper end only keeps somebody from sending megabytes to be hashed.
SHORTEST: Final = 12
LONGEST: Final = 256

# Whatever is put together from so few words, walks and numbers is soon guessed.
_MOST_PARTS: Final = 3
_SHORTEST_WALK: Final = 3
_LONGEST_WORD: Final = 40
# What is short and comes again and again is no better for it.
_SHORTEST_UNIT: Final = 6
_RUN: Final = re.compile(r"(.)\1*", re.DOTALL)
_NUMBER: Final = re.compile(r"[0-9]{1,4}")
_SIGNS: Final = re.compile(r"[\W_]{1,2}")
# Figures and signs that stand for letters; a 1 is an i or an l.
_FOLDED: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_LETTERS: Final = str.maketrans("013457@$€i", "oleastasel")


class Fault(StrEnum):
    """Why a password is not taken."""

    TOO_SHORT = "too-short"
    TOO_LONG = "too-long"
    UNREADABLE = "unreadable"
    COMMON = "common"
    PERSONAL = "personal"


SENTENCES: Final[dict[Fault, str]] = {
    Fault.TOO_SHORT: f"The password has less than {SHORTEST} characters.",
    Fault.TOO_LONG: f"The password has more than {LONGEST} characters.",
    Fault.UNREADABLE: "The password has characters that no keyboard types.",
    Fault.COMMON: "The password is one of those that are guessed first.",
    Fault.PERSONAL: "The password is made of the person's own name, address or company.",
}


def normal(password: str) -> str:
    """A password in the one form that is hashed: however a keyboard makes its accents."""
    return unicodedata.normalize("NFC", password)


def fault(password: str, about: Iterable[str] = ()) -> Fault | None:
    """What is wrong with a password; None when it is taken.

    `about` is what everybody knows of them: address, name, login, company.
    """
    said = normal(password)
    if len(said) < SHORTEST:
        return Fault.TOO_SHORT
    if len(said) > LONGEST:
        return Fault.TOO_LONG
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in said):
        return Fault.UNREADABLE
    unit = _unit(said.casefold().translate(_FOLDED))
    if len(unit) < _SHORTEST_UNIT or _parts(unit, _COMMON) <= _MOST_PARTS:
        return Fault.COMMON
    known = [one.casefold().translate(_FOLDED) for one in about]
    for whole in known:
        unit = unit.replace(whole, " ") if len(whole) >= _SHORTEST_UNIT else unit
    personal = {word.translate(_LETTERS) for one in known for word in re.findall(r"[^\W_]{3,}", one)}
    return Fault.PERSONAL if _parts(unit, _COMMON | personal) <= _MOST_PARTS else None


def must_be_good(password: str, about: Iterable[str] = ()) -> str:
    """The password as it is hashed. Raises password-refused."""
    found = fault(password, about)
    if found is not None:
        raise ApplianceError(
            "password-refused",
            SENTENCES[found],
            f"Choose {SHORTEST} characters or more that nobody would guess: four words that have nothing to do with"
            " each other are good.",
        )
    return normal(password)


def _unit(text: str) -> str:
    """The shortest piece that, again and again, makes a text: `abc` of `abcabcabcabca`; mostly it is the text."""
    sizes = range(1, len(text) // 2 + 1)
    return next((text[:size] for size in sizes if text.startswith(text[size:])), text)


def _parts(text: str, words: frozenset[str]) -> int:
    """The fewest parts that a text can be put together from: known words, walks on a keyboard, numbers.

    A character that belongs to none of them is a part by itself; one or two blanks or signs in a row count nothing.
    """
    letters = text.translate(_LETTERS)
    fewest = [0, *[len(text)] * len(text)]
    for begin in range(len(text)):
        for end, cost in _from(text, letters, begin, words):
            fewest[end] = min(fewest[end], fewest[begin] + cost)
    return fewest[-1]


def _from(text: str, letters: str, begin: int, words: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Where parts that begin here may end, and what each counts."""
    yield begin + 1, 1
    yield begin + len(_matched(_RUN, text, begin)), 1
    yield begin + len(_matched(_NUMBER, text, begin)), 1
    end = begin + len(_matched(_SIGNS, text, begin))
    yield end, 0 if end == len(text) or text[end].isalnum() else 1
    end = begin + _SHORTEST_WALK
    while end <= len(text) and text[begin:end] in _ROWS:
        yield end, 1
        end += 1
    for end in range(begin + 2, min(len(text), begin + _LONGEST_WORD) + 1):
        if letters[begin:end] in words:
            yield end, 1


def _matched(pattern: re.Pattern[str], text: str, begin: int) -> str:
    """What matches from here on; empty where nothing does."""
    found = pattern.match(text, begin)
    return found[0] if found else ""


_COMMON: Final = frozenset(word.translate(_LETTERS) for word in WORDS)
_ROWS: Final = "\n".join(row.translate(_FOLDED) for walk in WALKS for row in (walk, walk[::-1]))
