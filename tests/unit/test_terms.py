"""The terms of a key as an admin words them: what is taken, how it is stored, and what a refusal says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.policy import terms

# 2026-11-24 10:00 UTC.
NOW = 1_795_514_400_000_000
DAY = 86_400_000_000


def refused(check: Callable[..., Any], *said: Any) -> ApplianceError:
    """The refusal, which is wrong use."""
    with pytest.raises(ApplianceError) as caught:
        check(*said)
    assert caught.value.code == "wrong-use"
    assert (caught.value.sentence + caught.value.hint).isprintable()
    return caught.value


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("90d", NOW + 90 * DAY),
        ("12h", NOW + DAY // 2),
        (" 30 min ", NOW + 1_800_000_000),
        ("2w", NOW + 14 * DAY),
        ("1s", NOW + 1_000_000),
        # A day counts to its end.
        ("2026-11-24", NOW + 14 * 3_600_000_000),
        ("2026-11-25", NOW + DAY + 14 * 3_600_000_000),
    ],
)
def test_an_expiry_is_a_time_from_now_or_the_last_day(text: str, at: int) -> None:
    assert terms.expiry(text, NOW) == at


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("2026-11-23", "in the past"),
        ("1999-01-01", "in the past"),
        ("0d", "in the past"),
        ("-1d", "no expiry"),
        ("", "no expiry"),
        ("soon", "no expiry"),
        ("31.1.2027", "no expiry"),
        ("20270131", "no expiry"),
        ("2027-02-30", "no day"),
        ("0000-01-01", "no day"),
        ("9999-12-31", "no day"),
        ("2500-01-01", "100 years"),
        ("999999999999w", "100 years"),
        ("٩d", "no expiry"),
    ],
)
def test_an_expiry_is_never_in_the_past_and_nothing_else(text: str, what: str) -> None:
    assert what in refused(terms.expiry, text, NOW).sentence


@given(st.text())
def test_no_text_breaks_the_checks(text: str) -> None:
    for check in (lambda: terms.expiry(text, NOW), lambda: terms.overlap(text), lambda: terms.addresses([text])):
        try:
            check()
        except ApplianceError as error:
            assert error.code == "wrong-use"


def test_an_overlap_is_from_none_to_90_days() -> None:
    assert (terms.overlap("7d"), terms.overlap("0s"), terms.overlap("90d")) == (604_800, 0, 7_776_000)
    for text in ("91d", "week", "-1d", ""):
        assert "no overlap" in refused(terms.overlap, text).sentence


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60))
def test_a_name_of_printable_characters_is_taken_and_is_its_own_name(text: str) -> None:
    stored = terms.name(f" {text} ", "owner")
    assert terms.name(stored, "team") == stored


def test_an_accent_is_the_same_however_it_is_typed() -> None:
    assert terms.name("Rene\u0301e", "owner") == terms.name("Ren\u00e9e", "owner")


@pytest.mark.parametrize("text", ["", "  ", "x" * 201, "a\nb", "a\x00b", "\u202eanna", "a\udc80"])
def test_other_names_are_refused_by_what_they_name(text: str) -> None:
    assert "--team" in refused(terms.name, text, "team").hint


def test_models_endpoints_and_addresses_are_stored_as_words() -> None:
    assert terms.models(["small", "chat", "small"]) == "chat small"
    assert terms.endpoints(["models", "chat"]) == "chat models"
    assert terms.addresses(["192.168.1.0/24", "10.1.2.3", "FD00::/8"]) == "10.1.2.3/32 192.168.1.0/24 fd00::/8"
    assert terms.models([]) == terms.endpoints([]) == terms.addresses([]) == ""


def test_what_cannot_be_is_refused_with_what_can() -> None:
    assert "chat, completions, embeddings" in refused(terms.endpoints, ["chats"]).hint
    assert "chat, api, background, batch" in refused(terms.priority, "urgent").hint
    assert "models list" in refused(terms.models, ["two words"]).hint
    assert "192.168.1.0/24" in refused(terms.addresses, ["office"]).hint
    assert "10.0.0.0/8" in refused(terms.addresses, ["10.0.0.5/8"]).sentence
    assert "at most 100" in refused(terms.models, [f"model-{number}" for number in range(101)]).sentence
