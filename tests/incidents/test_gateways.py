"""Incidents of gateways: budgets, keys, other people's things, headers that say who somebody is."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any

import pytest

from appliance.accounts import keys, people
from appliance.store.sessions import session
from tests.support import batches
from tests.support.access import Kind
from tests.support.box import Box, ask, bodies
from tests.support.hands import let_in
from tests.support.sign_on import Browser, Program, SignOn

HELLO = ask("tokens=1")


def code(box: Box, headers: dict[str, str], path: str = "/v1/chat/completions", body: Any = HELLO) -> str:
    """What a request with these headers is told, by its code; empty where it is answered."""
    status, _, said = box.request("POST" if body is not None else "GET", path, body, None, headers)
    return "" if status == 200 else str(said["error"]["code"])


def bearer(secret: str) -> dict[str, str]:
    """The usual header."""
    return {"authorization": f"Bearer {secret}"}


def key(sign_on: SignOn, owner: str, **terms: Any) -> str:
    """A new key."""
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        return keys.create(opened, owner, **terms)[1]


def signed_in(sign_on: SignOn, login: str) -> Browser:
    """Somebody new, and their browser."""
    sign_on.person(login)
    browser = Browser(sign_on)
    assert browser.sign_in(f"{login}@example.com").location == "/"
    return browser


# Budgets and keys.


@pytest.mark.slow
@pytest.mark.parametrize("limited", [("user", "tina"), ("team", "crew"), ("box", "")], ids=lambda one: one[0])
def test_a_budget_bypassed_by_a_key_of_a_team(sign_on: SignOn, wiki: Program, limited: tuple[str, str]) -> None:
    """A gateway looked at the team's budget alone where a key had a team: the person's own limit was never asked."""
    kind, name = limited
    box = sign_on.box
    with session(box.state / "appliance.db") as opened:
        known = people.by_email(opened, "tina@example.com") is not None
    if not known:
        sign_on.person("tina", into_group := "staff", "crew") if False else sign_on.person("tina")
    browser = Browser(sign_on)
    browser.sign_in("tina@example.com")
    all_ways = {
        "own key": key(sign_on, "tina"),
        "team key": key(sign_on, "tina", team="crew"),
        "token": wiki.tokens(browser)["access_token"],
    }
    del all_ways
