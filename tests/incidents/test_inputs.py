"""Incidents of what people and programs send: what stays of it, guessing, names that look alike, what is unreadable."""

from __future__ import annotations

import time
from urllib.parse import quote, urlencode

import pyotp
import pytest

from appliance.accounts import links, people, second_factor
from appliance.errors import ApplianceError
from appliance.policy import names
from appliance.store.sessions import session
from tests.contract.test_routes import SIGN_ON as TABLE
from tests.support.hands import let_in, link, role_of, signed_in
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, Program, SignOn, back

# What is kept of secrets, and where.


def test_pages_with_secrets_kept_by_a_cache(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    """Elsewhere a page with a token or a code was kept on the way, and shown to whoever asked next."""
    public = {"/style.css", "/jwks", "/health", "/.well-known/openid-configuration",
              "/.well-known/oauth-authorization-server", "/inside/openid-configuration", "/passkeys.js"}  # fmt: skip
    at = link(sign_on, "emil", links.RESET)
    for route in TABLE:
        path = at if "{id}" in route.path else route.path
        form = anna.get("/device").hidden() | {"code": "BCDF-GHJK"} if route.method == "POST" else None
        said = anna.ask(route.method, path, form)
        assert (said.headers.get("cache-control") == "no-store") is (route.path not in public), route.path
        if "text/html" in said.headers["content-type"] and said.body:
            assert said.headers["referrer-policy"] == "same-origin", route.path
    said = anna.ask("GET", wiki.request())
    assert "code" in back(said)
    assert said.headers["cache-control"] == "no-store"
    assert wiki.exchange("made-up").headers["cache-control"] == "no-store"


def test_token_in_a_log(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    """Elsewhere keys and tokens stood in plain text in logs and tables: of errors above all, and with addresses."""
    box, unused = sign_on.box, link(sign_on, "emil", links.RESET)
    tool = Program(sign_on, sign_on.client("Logged", flows=["device"], public=True))
    tokens, device, code = wiki.tokens(anna), let_in(tool, anna), wiki.code(anna)
    typed = "a password that was mistyped"
    secret = {
        "key": box.key("anna"), "access": tokens["access_token"], "refresh": tokens["refresh_token"],
        "id": tokens["id_token"], "device": device["refresh_token"], "code": code, "link": unused.rpartition("/")[2],
        "cookie": anna.cookies["appliance-session"], "form": anna.cookies["appliance-form"],
        "known": anna.cookies["appliance-device"], "client": wiki.about["secret"], "password": PASSWORD, "typed": typed,
    }  # fmt: skip
    # Each of them where it belongs, and where it does not.
    for value in secret.values():
        headers = {"Authorization": f"Bearer {quote(value)}", "Cookie": f"appliance-session={quote(value)}"}
        box.get("/v1/models", quote(value))
        for path in ("/userinfo", "/", "/authorize", "/device", f"/sign-in?{urlencode({'to': value, 'x': value})}"):
            sign_on.ask("GET", path, headers=headers)
        for path in ("/token", "/revoke", "/introspect", "/device-authorization", "/sign-out", "/sign-in"):
            form = {"client_id": value, "client_secret": value, "code": value, "id_token_hint": value, "token": value}
            sign_on.ask("POST", path, form | {"grant_type": value})
    for method in ("POST", "PUT", "HEAD", "DELETE"):
        sign_on.ask(method, unused, {"password": typed} if method == "POST" else None)
    Browser(sign_on).sign_in("emil@example.com", typed)
    wiki.exchange(code, code_verifier="a" * 43)
    box.post(b"not json", secret["key"])
    assert 'name="password"' in Browser(sign_on).get(unused).text
    logs = [box.folder / "identity.log", box.folder / "serve.log"]
    assert all(file.stat().st_size for file in logs)
    files = [*logs, *(file for file in box.state.rglob("*") if file.is_file())]
    found = {
        (name, file.name) for file in files for name, value in secret.items() if value.encode() in file.read_bytes()
    }
    assert found == set()


# What is shown as a token.


def test_guessing_from_as_many_addresses_as_a_header_says(sign_on: SignOn) -> None:
    """Elsewhere whoever wrote a new address into `X-Forwarded-For` each time could guess for ever."""
    sign_on.person("paula")
    found = []
    for number in range(6):
        headers = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP", "Forwarded"), f"10.0.0.{number}")
        found.append(Browser(sign_on, headers=headers).sign_in("paula@example.com", "a guess of mine").status)
    assert found == [403] * 5 + [429]


@pytest.mark.parametrize(
    "spelling",
    [
        "J\u00dcRG@b\u00fccher.example",
        "ju\u0308rg@b\u00fccher.example",
        "j\u00fcrg@xn--bcher-kva.example",
        " j\u00fcrg@B\u00dcCHER.example ",
    ],
)
def test_guessing_with_another_spelling_of_the_address(sign_on: SignOn, spelling: str) -> None:
    """Elsewhere each spelling of an address had a count of wrong tries of its own, and all led to one account."""
    if role_of(sign_on, "j\u00fcrg@b\u00fccher.example") == "":
        with session(sign_on.box.state / "appliance.db", alone=True) as opened:
            people.add(opened, "j\u00fcrg@b\u00fccher.example")
        found = [Browser(sign_on).sign_in("j\u00fcrg@b\u00fccher.example", "a guess of mine").status for _ in range(5)]
        assert found == [403] * 5
    assert Browser(sign_on).sign_in(spelling, "a guess of mine").status == 429


# Names that look like others.


def test_unicode_and_homograph_logins(sign_on: SignOn) -> None:
    """Elsewhere an address in other letters that look the same, or fold to the same, was taken for somebody else's."""
    for said in (
        "\u0430nna@example.com",  # a Cyrillic a
        "ann\u0430@example.com",
        "\uff41nna@example.com",  # a wide a
        "anna\u200b@example.com",
        "anna\u202e@example.com",
        "anna@ex\u0430mple.com",
        "anna@example\u3002com",
        "anna\u0301\u0301\u0301@example.com\x00",
        "\u1d43nna@example.com",
    ):
        with session(sign_on.box.state / "appliance.db", alone=True) as opened:
            found = people.by_email(opened, said)
            assert found is None, ascii(said)
            with pytest.raises(ApplianceError) as refused:
                people.add(opened, said)
            assert refused.value.code == "wrong-use"
    for said in ("anna@example.com\x00", "anna@example.com\n", "ANNA@EXAMPLE.COM", "anna@example.com "):
        with session(sign_on.box.state / "appliance.db") as opened:
            person = people.by_email(opened, said)
            assert person is None or person.login == "anna"
    # What is written in one alphabet is somebody's name.
    assert names.email("\u0430\u043d\u043d\u0430@\u043f\u0440\u0438\u043c\u0435\u0440.example")


# What is too long, or cannot be read.

LONG = "x" * 60_000
STRANGE = ["\u00e9" * 32, "\u00b2", "\u0663", "\ud7ff", "\x00", "%", "[]", "-1", "1" * 5000, LONG, "\U0001f600" * 100]
FIELDS = (
    "to", "email", "password", "code", "half", "token", "decision", "name", "again", "user_code", "login_hint",
    "max_age", "prompt", "scope", "state", "nonce", "client_id", "client_secret", "redirect_uri", "ui_locales",
    "code_challenge", "code_verifier", "refresh_token", "device_code", "grant_type", "response_type", "response_mode",
    "id_token_hint", "post_logout_redirect_uri", "token_type_hint", "claims", "request",
)  # fmt: skip


@pytest.mark.parametrize("value", STRANGE, ids=lambda one: ascii(one)[:12])
def test_very_long_and_strange_inputs(sign_on: SignOn, wiki: Program, anna: Browser, value: str) -> None:
    """Elsewhere a field of a megabyte, or one that is no number, held the process up or showed its insides."""
    log = sign_on.box.folder / "identity.log"
    began = log.stat().st_size
    known = anna.get("/device").hidden()
    fits = len(value) <= 1000
    for route in TABLE:
        path = route.path.replace("{id}", "x")
        if route.method == "GET":
            if fits:
                anna.ask("GET", f"{path}?{urlencode(dict.fromkeys(FIELDS, value))}")
            continue
        anna.ask("POST", path, dict.fromkeys(FIELDS, value) if fits else {"token": value})
        for name in FIELDS:
            # The one would sign out; the other would be a wrong try to sign in, of which a network has so many.
            if (path, name) in (("/sign-out", "decision"), ("/sign-in", "email")):
                continue
            if (name in known) is not (path in ("/device", "/sign-in", "/sign-out")):
                anna.ask("POST", path, known | {name: value})
    for name in FIELDS[10:] if fits else ():
        anna.ask("GET", wiki.request(**{name: value}))
    assert signed_in(sign_on).get("/").status == 200
    bugs = [line for line in log.read_bytes()[began:].splitlines() if b'"event":"bug"' in line]
    assert bugs == []


def test_signing_in_while_being_shut_out(sign_on: SignOn) -> None:
    """Elsewhere whoever was half signed in when they were disabled could finish with the second half."""
    secret = second_factor.new_secret()
    sign_on.person("quentin")
    file = sign_on.box.state / "appliance.db"
    with session(file, alone=True) as opened:
        person = people.find(opened, "quentin")
        spare = second_factor.turn_on(opened, person, secret, pyotp.TOTP(secret).now(), time.time())
    browser = Browser(sign_on)
    page = browser.sign_in("quentin@example.com")
    with session(file, alone=True) as opened:
        people.disable(opened, people.find(opened, "quentin"))
    said = browser.fill(page, "/sign-in", code=spare[0])
    assert (said.status, "switched off" in said.text, "appliance-session" in browser.cookies) == (403, True, False)
    with session(file, alone=True) as opened:
        people.enable(opened, people.find(opened, "quentin"))
    assert browser.ask("GET", "/").location == "/sign-in"
