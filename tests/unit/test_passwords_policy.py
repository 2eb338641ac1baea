"""Which passwords are taken: by length and by what attackers try first, never by the kinds of characters in them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.policy.common_passwords import WALKS, WORDS
from appliance.policy.passwords import LONGEST, SENTENCES, SHORTEST, Fault, fault, must_be_good, normal

ANNA = ("anna.krahl@brauerei-ott.example", "Anna Krahl", "akrahl", "brauerei-ott")

_COMMON = """
password1234 123456789012 987654321098 qwertyuiop12 qwertzuiopü+ asdfghjklöä# 1q2w3e4r5t6y 1qaz2wsx3edc zaq12wsxcde3
!QAZ2wsx3edc abcdefghijkl iloveyou1234 Passw0rd1234 P@ssw0rd!P@ssw0rd! Schm1dt-Schm1dt administrator welcome12345
letmein12345 changeme1234 trustno1trustno1 Admin123Admin123 qwerty-qwerty-1 abc123abc123abc123 123qwe123qwe
Sommer2026!! Sommer_Sommer_2026 Frühling2025!! Passwort2026! Willkommen2026 Hallo12345678 Start123456! Weihnachten24.12
iloveyouforever superman-batman dragon-tiger-2020 michael19841984 unbelievable aaaaaaaaaaaa ............ 0000000000000
19841984198419 010203040506 password!@#$%^
"""
COMMON = _COMMON.split()

GOOD = [
    "correct horse battery staple",
    "vier grüne Stühle tanzen",
    "Ochse-Tapete-Wolke-19",
    "k7Gq2mP9xW4z",
    "zgtqmxkwplra",
    "83719265038471",
    "#&!?%$/(*)=+",
    "日本語のパスワードです長い",
    "annas Krokodil taucht",
]


@pytest.mark.parametrize("password", COMMON)
def test_what_attackers_try_first_is_not_taken(password: str) -> None:
    assert len(password) >= SHORTEST
    assert fault(password) is Fault.COMMON
    assert fault(password.upper()) is Fault.COMMON


@pytest.mark.parametrize("password", GOOD)
def test_no_kind_of_character_must_be_in_a_password(password: str) -> None:
    assert fault(password, ANNA) is None
    assert must_be_good(password, ANNA) == normal(password)


@pytest.mark.parametrize("word", sorted(WORDS))
def test_a_word_of_the_list_counts_with_a_year_and_a_sign_behind_it(word: str) -> None:
    for password in (f"{word}2026!", f"{word.capitalize()}{word}99", f"{word}-{word}-1"):
        if len(password) >= SHORTEST:
            assert fault(password) is Fault.COMMON


@pytest.mark.parametrize("walk", [walk for walk in WALKS if len(walk) >= 6])
def test_a_walk_on_the_keyboard_counts_in_either_direction(walk: str) -> None:
    for password in (walk + walk, walk[::-1] + walk[::-1], walk + "2026!!"):
        assert fault(password) is Fault.COMMON, password


@pytest.mark.parametrize(
    "password",
    [
        "anna.krahl@brauerei-ott.example",
        "Anna.Krahl@brauerei-ott.example1",
        "krahl-brauerei-2026",
        "akrahl!akrahl!7",
        "BrauereiOtt2026",
        "Br4uere1-Krahl!",
    ],
)
def test_a_password_is_not_made_of_the_address_the_name_or_the_company(password: str) -> None:
    assert fault(password) is None
    assert fault(password, ANNA) is Fault.PERSONAL


def test_the_length_is_counted_in_characters_as_they_are_kept() -> None:
    composed, typed = "ü" * 4 + "xkqvzjbw", unicodedata.normalize("NFD", "ü" * 4 + "xkqvzjbw")
    assert (len(composed), len(typed)) == (12, 16)
    assert fault(composed) is fault(typed) is None
    assert normal(composed) == normal(typed)
    assert fault(typed[:-2]) is Fault.TOO_SHORT
    long = "".join(chr(0x4E00 + number) for number in range(LONGEST + 1))
    assert fault(long[:LONGEST]) is None
    assert fault(long) is Fault.TOO_LONG


@pytest.mark.parametrize("password", ["k7Gq2mP9xW4z\n", "k7Gq2mP9\0xW4z", "k7Gq2mP9\udc80xW4z"])
def test_what_no_keyboard_types_is_not_taken(password: str) -> None:
    assert fault(password) is Fault.UNREADABLE


def test_a_refusal_says_why_and_what_is_better() -> None:
    assert set(SENTENCES) == set(Fault)
    with pytest.raises(ApplianceError, match="less than 12 characters") as caught:
        must_be_good("short")
    assert caught.value.code == "password-refused"
    assert "short" not in caught.value.hint
    assert fault("four words that have nothing to do with each other") is None


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300), st.text(max_size=40))
def test_any_text_is_judged_and_what_is_known_of_somebody_never_makes_it_better(password: str, about: str) -> None:
    alone, known = fault(password), fault(password, (about,))
    assert known is alone or (alone, known) == (None, Fault.PERSONAL)
