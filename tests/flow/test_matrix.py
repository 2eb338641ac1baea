"""Every route, with every kind of credential, of every role, in every state: as `tests.support.access` says."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.identity.pages import Pages
from appliance.policy.roles import Role
from tests.support.access import (
    AT_THE_FORM,
    CARDS,
    GATEWAY,
    GOOD_FOR,
    OF_PEOPLE,
    PEOPLE,
    SIGN_ON,
    Card,
    Door,
    Kind,
    State,
    at_gateway,
)
from tests.support.box import Box, bodies, wait_until
from tests.support.engines import FakeEngine
from tests.support.hands import Hands, deal
from tests.support.sign_on import Browser, Program, Said, SignOn

pytestmark = pytest.mark.slow


def named(card: Card) -> str:
    """A card in words."""
    role, kind, state = card
    return f"{role or 'nobody'}: {kind}, {state}"


@pytest.fixture(scope="module")
def hands(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[Hands]:
    """A sign-on and a gateway that run, and everybody with everything."""
    found = SignOn(Box(tmp_path_factory.mktemp("matrix")))
    engines = (("chat", "fake"), ("embed", "vectors"), ("rerank", "sorter"))
    tables = "".join(f'[engines.{role}]\nurl = "{fake_engine.url}"\nmodel = "{model}"\n' for role, model in engines)
    found.box.configure(f"engine_wait_s = 1\n{found.settings}{tables}")
    try:
        found.person("first", Role.OWNER)
        found.start(wait=False)
        found.box.serve(wait=False)
        wait_until(found.answers, 90, "sign-on's health")
        wait_until(lambda: found.box.answers("/health"), 90, "the gateway's health")
        yield deal(found)
    finally:
        found.stop()
        found.box.stop()


# The gateway.


@pytest.mark.parametrize("card", CARDS, ids=named)
def test_the_gateway_lets_in_whom_the_table_names(hands: Hands, card: Card) -> None:
    assert asked(hands.sign_on.box, hands.headers(card)) == at_gateway(card)


def asked(box: Box, headers: dict[str, str]) -> dict[str, str]:
    """What every route says, by its code; empty where it answers."""
    found: dict[str, str] = {}
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=60)
    for name in GATEWAY:
        method, path = name.replace("{id}", "chat").split()
        body = json.dumps(bodies("tokens=1").get(path, {})) if method == "POST" else None
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        said = response.read()
        found[name] = "" if response.status == 200 else str(json.loads(said)["error"]["code"])
        if found[name] in ("key-missing", "key-refused", "key-expired"):
            assert response.status == 401, name
            assert response.getheader("www-authenticate") == "Bearer", name
        elif found[name] == "suspended":
            assert response.status == 403, name
    connection.close()
    return found


# Sign-on: what people and programs hold, at the doors of others.

# What it does would take the others' cards away.
LAST = "POST /account/sign-out-others"


@pytest.mark.parametrize("card", CARDS, ids=named)
def test_sign_on_lets_in_whom_the_table_names(hands: Hands, card: Card) -> None:
    kind, shown, browser, good = card[1], hands.cards[card], holding(hands, card), good_for(card)
    found, expected = {}, {}
    for name, door in SIGN_ON.items():
        if name == LAST:
            continue
        if door in (Door.BEARER, Door.SIGNED_IN):
            found[name] = is_let_in(browser, name)
            expected[name] = door in good
        elif door is Door.CLIENT:
            method, path = name.split()
            # A person's own is no secret of a program, wherever it stands.
            wrong = {"client_id": hands.robot.about["id"], "client_secret": shown, "token": shown}
            fields = wrong | {"grant_type": "client_credentials"}
            said = browser.ask(method, path, fields)
            found[name] = said.status == 200
            expected[name] = kind is Kind.SECRET
    assert found == expected


def good_for(card: Card) -> frozenset[Door]:
    """The doors that open to whoever shows a card."""
    _, kind, state = card
    return frozenset(GOOD_FOR[kind]) if state is State.ACTIVE else frozenset()


def holding(hands: Hands, card: Card) -> Browser:
    """A browser, or a program, that shows a card."""
    if card[1] is Kind.COOKIE:
        return Browser(hands.sign_on, {"appliance-session": hands.cards[card]})
    return Browser(hands.sign_on, headers=hands.headers(card))


def is_let_in(browser: Browser, name: str) -> bool:
    """Whether a route answers; where it wants people signed in, it sends all others to the page for that."""
    method, path = name.split()
    form: dict[str, str] | None = None
    if method == "POST":
        form = {} if path == "/userinfo" else browser.ask("GET", "/sign-in").hidden() | {"code": "BCDF-GHJK"}
    said = browser.ask(method, path, form)
    if path == "/userinfo":
        assert said.status == 200 or (said.status, said.json["error"]) == (401, "invalid_token")
        return said.status == 200
    # Whoever is only to prove once more who they are is sent there with an address to come back to.
    if said.status == 303 and said.location == ("/sign-in?to=%2Fdevice" if path == "/device" else "/sign-in"):
        return False
    # A form of nothing is refused, or changes nothing.
    assert said.status in ((200, 303) if method == "GET" else (200, 303, 403)), said.text
    return True


@pytest.mark.parametrize("card", CARDS, ids=named)
def test_a_door_that_is_open_is_so_for_everybody(hands: Hands, card: Card) -> None:
    headers = hands.headers(card)
    for name, door in SIGN_ON.items():
        if door is not Door.OPEN:
            continue
        method, path = name.replace("{id}", "none").split()
        form: dict[str, str] | None = {} if method == "POST" else None
        said, plain = (hands.sign_on.ask(method, path, form, with_) for with_ in (headers, {}))
        assert (said.status, said.headers.get("location")) == (plain.status, plain.headers.get("location")), name


PERSONS = [(role, state) for role in PEOPLE for state in OF_PEOPLE]


@pytest.mark.parametrize(("role", "state"), PERSONS, ids=str)
def test_a_program_gets_a_code_only_of_who_is_signed_in(hands: Hands, role: Role, state: State) -> None:
    browser = Browser(hands.sign_on, {"appliance-session": hands.cards[role, Kind.COOKIE, state]})
    for method in ("GET", "POST"):
        path = hands.wiki.request()
        said = browser.ask("GET", path) if method == "GET" else browser.get(path)
        assert ("code=" in said.headers.get("location", "")) is (state is State.ACTIVE)
        assert state is State.ACTIVE or method == "POST" or said.location.startswith("/sign-in?to=")


@pytest.mark.parametrize(("role", "state"), PERSONS, ids=str)
def test_a_program_is_told_truly_whether_a_token_is_good(hands: Hands, role: Role, state: State) -> None:
    for program, kind in ((hands.wiki, Kind.BROWSER), (hands.wiki, Kind.REFRESH), (hands.chat, Kind.CHAT)):
        assert program.active(hands.cards[role, kind, state]) is (state is State.ACTIVE)
        stranger = Program(hands.sign_on, hands.robot.about)
        assert not stranger.active(hands.cards[role, kind, state])


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("state", OF_PEOPLE)
def test_a_password_is_good_for_whom_the_table_names(hands: Hands, role: Role, state: State) -> None:
    said = Browser(hands.sign_on).sign_in(hands.email(role, state))
    word = AT_THE_FORM[state] or ("" if role in PEOPLE else "no_pages")
    assert (said.status, "appliance-session" in "".join(said.cookies)) == ((403, False) if word else (303, True))
    assert not word or Pages().say("en")[word] in said.text.replace("&#39;", "'")


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("state", OF_PEOPLE)
def test_a_link_is_good_for_who_is_active(hands: Hands, role: Role, state: State) -> None:
    at = f"/welcome/{hands.cards[role, Kind.LINK, state]}"
    browser = Browser(hands.sign_on)
    page = browser.get(at)
    assert ('name="password"' in page.text) is (state is State.ACTIVE)
    token = browser.get("/sign-in").hidden()["token"]
    said: Said = browser.ask("POST", at, {"token": token, "password": "short"})
    assert ("too short" in said.text) is (state is State.ACTIVE)


@pytest.mark.parametrize(("role", "state"), PERSONS, ids=str)
def test_a_refresh_token_is_good_for_who_is_active(hands: Hands, role: Role, state: State) -> None:
    """The last but one: it uses the tokens up."""
    for program, kind in ((hands.wiki, Kind.REFRESH), (hands.tool, Kind.DEVICE_REFRESH)):
        said = program.refresh(hands.cards[role, kind, state])
        expected: Any = (200, None) if state is State.ACTIVE else (400, "invalid_grant")
        assert (said.status, said.json.get("error")) == expected, kind


@pytest.mark.parametrize("card", CARDS, ids=named)
def test_whoever_is_signed_in_may_sign_out_everywhere_else(hands: Hands, card: Card) -> None:
    """The last: it ends what the others show."""
    assert is_let_in(holding(hands, card), LAST) is (Door.SIGNED_IN in good_for(card))
