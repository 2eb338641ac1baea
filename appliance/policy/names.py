"""What people are called: addresses, logins, names of persons and groups, each in the one form that is stored.

So nobody is there twice because somebody typed capitals, blanks, or an address in another of its spellings. Every
function but `logins_from` and `name_from` raises wrong-use, with what to write instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from appliance.errors import ApplianceError
from appliance.policy import terms

# The key of this machine's own commands has this owner: nobody else is to be mistaken for it.
RESERVED: Final = frozenset({"admin"})

_LONGEST_EMAIL: Final = 254
_LONGEST_LOCAL: Final = 64
_LONGEST_LOGIN: Final = 64
_EMAIL: Final = re.compile(r"[^\s@<>()\[\],;:\\\"]+@[\w-]+(\.[\w-]+)*")
# Alphabets that have letters of one look: a word of one of them is somebody's name, and a word of two is a disguise.
_ALIKE: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})
_LOGIN: Final = re.compile(r"\w[\w.-]*")


def email(text: str) -> str:
    """An e-mail address. Capitals do not count, and `xn--` spellings of a domain are undone."""
    said = unicodedata.normalize("NFC", text.strip())
    folded = said.casefold()
    # Of what differs, mail programs and we would not mean the same address.
    if not _EMAIL.fullmatch(said) or not said.isprintable() or folded != said.lower():
        raise _no_address(said)
    local, _, domain = folded.rpartition("@")
    try:
        found = f"{local}@{'.'.join(_label(one) for one in domain.split('.'))}"
    except UnicodeError:
        raise _no_address(said) from None
    if _is_disguised(found) or len(local) > _LONGEST_LOCAL or len(found) > _LONGEST_EMAIL:
        raise _no_address(said)
    return found


def login(text: str) -> str:
    """The short name that keys, budgets and the records know somebody by: letters, digits, dots, lines."""
    said = unicodedata.normalize("NFC", text.strip()).casefold()
    if not _LOGIN.fullmatch(said) or len(said) > _LONGEST_LOGIN or _is_disguised(said):
        raise _wrong(
            f"'{_shown(text)}' cannot be a login: that has 1 to {_LONGEST_LOGIN} letters, digits, dots and lines.",
            "Choose a short name, such as anna.",
        )
    if said in RESERVED:
        raise _wrong(f"The login '{said}' belongs to this machine's own commands.", "Choose another one.")
    return said


def logins_from(address: str) -> Iterator[str]:
    """Logins for somebody with this address, best first: `anna`, `anna2`, `anna3` and so on."""
    local = address.partition("@")[0].partition("+")[0]
    base = re.sub(r"[^\w.-]+", "-", local)[: _LONGEST_LOGIN - 6].strip(".-") or "person"
    if base not in RESERVED:
        yield base
    yield from (f"{base}{number}" for number in range(2, 100_000))


def display_name(text: str) -> str:
    """A person's name as it is shown."""
    return _printable(" ".join(text.split()), "person")


def name_from(address: str) -> str:
    """A name for somebody of whom only the address is known: `Anna Schmidt` for anna.schmidt@example.com."""
    words = re.split(r"[\W_]+", address.partition("@")[0].partition("+")[0])
    return " ".join(word.capitalize() for word in words if word) or address


def group(text: str) -> str:
    """The name of a group, which is that of a team too."""
    said = _printable(text, "group")
    if re.search(r"[,;|*]", said):
        raise _wrong(
            f"'{_shown(said)}' cannot be the name of a group: it has one of , ; | *.", "Choose a name such as sales."
        )
    return said


def same(one: str, other: str) -> bool:
    """Whether two names are one but for capitals."""
    return one.casefold() == other.casefold()


def _printable(text: str, whose: str) -> str:
    try:
        return terms.name(text, "team")
    except ApplianceError:
        raise _wrong(
            f"The name of a {whose} must have 1 to 200 printable characters.", "Shorten it, or type it once more."
        ) from None


def _is_disguised(text: str) -> bool:
    """Whether it has letters that look like others: wide or raised ones, or those of two alphabets in one word."""
    if unicodedata.normalize("NFKC", text) != text:
        return True
    return any(len(_alphabets(word)) > 1 for word in re.split(r"[\W_]+", text))


def _alphabets(word: str) -> set[str]:
    """Of the alphabets that look alike, those of a word."""
    return {unicodedata.name(letter, "").partition(" ")[0] for letter in word} & _ALIKE


def _label(text: str) -> str:
    """A label of a domain as people write it. Raises UnicodeError."""
    return text.encode("ascii").decode("idna") if text.startswith("xn--") else text


def _no_address(text: str) -> ApplianceError:
    return _wrong(f"'{_shown(text)}' is no e-mail address.", "Write it as anna@example.com.")


def _shown(text: str) -> str:
    """What somebody typed, safe to show again."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:100])


def _wrong(sentence: str, hint: str) -> ApplianceError:
    return ApplianceError("wrong-use", sentence, hint)
