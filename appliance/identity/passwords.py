"""What is wrong with a new password, in the words of a page (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from appliance.policy.passwords import LONGEST, SHORTEST, Fault, fault

_WORDS: Final = {
    Fault.TOO_SHORT: "too_short",
    Fault.TOO_LONG: "too_long",
    Fault.UNREADABLE: "unreadable",
    Fault.COMMON: "common",
    Fault.PERSONAL: "personal",
}


def wrong_with(say: Mapping[str, str], password: str, again: str, known: tuple[str, str, str]) -> str:
    """What somebody should choose otherwise; empty when it is good.

    `say` are the words of a language, `again` the password typed once more, and `known` the person's address, name and
    login.
    """
    if again not in ("", password):
        return say["not_the_same"]
    company = known[0].rpartition("@")[2]
    found = fault(password, (*known, company))
    return say[_WORDS[found]].format(least=SHORTEST, most=LONGEST) if found else ""
