"""What people are called: one form of each name, whatever somebody types."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.control.local_key import OWNER
from appliance.errors import ApplianceError
from appliance.policy import names


def refused(check: Callable[[str], str], said: str) -> None:
    """It is wrong use, said in a way that does nothing to a terminal."""
    with pytest.raises(ApplianceError) as caught:
        check(said)
    assert caught.value.code == "wrong-use"
    assert (caught.value.sentence + caught.value.hint).isprintable()


@pytest.mark.parametrize(
    "said",
    [
        " Jörg.Krahl@Müller.example\n",
        "jo\u0308rg.krahl@mu\u0308ller.example",
        "JÖRG.KRAHL@XN--MLLER-KVA.EXAMPLE",
        "jörg.krahl@xn--mller-kva.example",
    ],
)
def test_every_spelling_of_an_address_is_one_address(said: str) -> None:
    assert names.email(said) == "jörg.krahl@müller.example"


@pytest.mark.parametrize("said", ["anna@example.com", "a.b+c_d'e@sub.example.com", "o@localhost", "x@1.example"])
def test_an_address_stays_as_it_is(said: str) -> None:
    assert names.email(said) == said


@pytest.mark.parametrize(
    "said",
    [
        "", "anna", "@example.com", "anna@", "anna@@example.com", "anna @example.com", "anna@example..com",
        "anna@.example.com", "anna@example.com.", "<anna@example.com>", "anna@example.com, ben@example.com",
        "anna@exam ple.com", "an\u200bna@example.com", "anna@example.com\0", "anna@xn--\u00fc.example",
        "anna@xn--0.example", "\u0430nna@example.com", "anna@ex\u0430mple.com", "\uff41nna@example.com",
        "strau\u00dfe@example.com", "an\u017fa@example.com",
        f"{'a' * 65}@example.com", f"a@{'b' * 260}.com",
    ],
)  # fmt: skip
def test_what_is_no_address_or_could_be_taken_for_another_is_refused(said: str) -> None:
    refused(names.email, said)


def test_a_login_is_short_plain_and_without_capitals() -> None:
    assert names.login(" Anna.Krahl-2 ") == "anna.krahl-2"
    assert names.login("JÖRG") == "jörg"
    for said in (
        "\u0430nna",
        "\uff41nna",
        "",
        ".anna",
        "anna krahl",
        "anna@example.com",
        "a" * 65,
        "*",
        "user:anna",
        "an\nna",
    ):
        refused(names.login, said)


def test_nobody_gets_the_name_of_the_machines_own_commands() -> None:
    assert OWNER in names.RESERVED
    refused(names.login, OWNER.upper())
    assert list(islice(names.logins_from("admin@example.com"), 2)) == ["admin2", "admin3"]


@pytest.mark.parametrize(
    ("address", "login"),
    [
        ("anna@example.com", "anna"),
        ("anna+ai@example.com", "anna"),
        ("o'neil@example.com", "o-neil"),
        ("+@example.com", "person"),
        (f"{'a' * 64}@example.com", "a" * 58),
    ],
)
def test_a_login_is_made_from_the_address(address: str, login: str) -> None:
    assert list(islice(names.logins_from(address), 3)) == [login, f"{login}2", f"{login}3"]


@given(st.emails())
def test_the_logins_of_any_address_are_logins(address: str) -> None:
    try:
        kept = names.email(address)
    except ApplianceError:
        return
    for one in islice(names.logins_from(kept), 3):
        assert names.login(one) == one
    assert names.email(kept) == kept
    assert names.display_name(names.name_from(kept))


def test_a_name_is_taken_from_the_address_where_none_is_given() -> None:
    assert names.name_from("anna-maria.krahl+ai@example.com") == "Anna Maria Krahl"
    assert names.display_name("  Anna \n Krahl ") == "Anna Krahl"
    for said in ("", "x" * 201, "a\0b"):
        refused(names.display_name, said)


def test_a_group_has_a_name_that_a_list_of_groups_can_hold() -> None:
    assert names.group(" Vertrieb Süd ") == "Vertrieb Süd"
    for said in ("", "a,b", "a;b", "a|b", "*", "x" * 201):
        refused(names.group, said)
