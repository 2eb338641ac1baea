"""The settings of other places to sign in with: what is refused, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config.load import parse
from appliance.errors import ApplianceError
from appliance.policy.directory import escaped

PROVIDER = {
    "issuer": '"https://login.example.com"', "client_id": '"a"', "client_secret_file": '"/s"',
    "domains": '["example.com"]',
}  # fmt: skip
DIRECTORY = {
    "url": '"ldaps://dc.example.com"', "base": '"dc=example"', "bind_dn": '"cn=a"', "bind_password_file": '"/s"',
    "domains": '["example.com"]',
}  # fmt: skip


def refused(table: str, good: dict[str, str], **changed: str | None) -> str:
    """What is said of a table with changes; empty when it is taken."""
    lines = [f"{name} = {value}" for name, value in {**good, **changed}.items() if value is not None]
    try:
        parse("\n".join([f"[identity.{table}]", *lines]), Path("a.toml"))
    except ApplianceError as error:
        return error.sentence
    return ""


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({}, ""),
        ({"issuer": '"http://127.0.0.1:8080/realm"'}, ""),
        ({"issuer": '"http://login.example.com"'}, "https"),
        ({"issuer": '"https://a@login.example.com"'}, "address"),
        ({"issuer": '"https://login.example.com?x=1"'}, "address"),
        ({"issuer": None}, "needs"),
        ({"client_id": None}, "needs"),
        ({"client_secret_file": None}, "needs"),
        ({"client_secret_file": '"relative"'}, "pattern"),
        ({"domains": "[]"}, "whose addresses"),
        ({"domains": '["Example.com"]'}, "small letters"),
        ({"domains": '["*"]'}, "small letters"),
        ({"domains": '["com"]'}, "small letters"),
        ({"role": '"owner"'}, "staff"),
        ({"role": '"admin"'}, "staff"),
        ({"scopes": '["email"]'}, "openid"),
    ],
)
def test_a_provider(changed: dict[str, str | None], word: str) -> None:
    said = refused("providers.one", PROVIDER, **changed)
    assert bool(said) == bool(word)
    assert word in said


def test_a_providers_name_stands_in_an_address() -> None:
    assert "small letters" in refused("providers.One", PROVIDER)
    assert "directory" in refused("providers.directory", PROVIDER)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({}, ""),
        ({"url": None}, ""),
        ({"url": '"ldap://127.0.0.1:389"'}, ""),
        ({"url": '"ldap://dc.example.com"', "start_tls": "true"}, ""),
        ({"url": '"ldap://dc.example.com"'}, "on the way"),
        ({"start_tls": "true"}, "ldap://"),
        ({"url": '"https://dc.example.com"'}, "pattern"),
        ({"base": None}, "needs"),
        ({"bind_dn": None}, "needs"),
        ({"bind_password_file": None}, "needs"),
        ({"filter": '"(mail=anna@example.com)"'}, "{login}"),
        ({"domains": "[]"}, "whose addresses"),
        ({"check_minutes": "120"}, "60"),
        ({"role": '"owner"'}, "staff"),
    ],
)
def test_a_directory(changed: dict[str, str | None], word: str) -> None:
    said = refused("directory", DIRECTORY, **changed)
    assert bool(said) == bool(word)
    assert word in said


def test_nothing_that_somebody_types_is_part_of_a_filter() -> None:
    assert escaped(b"anna@example.com") == "anna@example.com"
    assert escaped(b"*)(cn=\\\x00") == "\\2a\\29\\28cn\\3d\\5c\\00"
    assert escaped("ä".encode()) == "\\c3\\a4"
