"""Passkeys: added by whoever has proved who they are, good for signing in, and for nothing else and nobody else."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from appliance.accounts import links
from appliance.policy.roles import Role
from appliance.store.schema import connect
from appliance.units import now_us
from tests.flow.test_own_account import age, signed_in
from tests.flow.test_sign_on_pages import link
from tests.support.authenticator import PRESENT, Authenticator
from tests.support.box import Box
from tests.support.sign_on import Browser, Program, Said, SignOn, claims

pytestmark = pytest.mark.slow

HOST = "ai.example.com"
ORIGIN = f"https://{HOST}:8443"


@pytest.fixture(scope="module")
def sign_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignOn]:
    """A sign-on that browsers know by a name."""
    found = SignOn(Box(tmp_path_factory.mktemp("named")), url=ORIGIN)
    found.box.configure(found.settings)
    found.person("olga", Role.OWNER)
    found.start()
    yield found
    found.stop()


def wanted(page: Said) -> dict[str, Any]:
    """What a page's script asks the browser for."""
    found = re.search(r'data-passkey="([^"]*)"', page.text)
    assert found, page.text
    return dict(json.loads(html.unescape(found[1])))


def with_passkey(sign_on: SignOn, login: str, **how: Any) -> tuple[Browser, Authenticator]:
    """Somebody new who is signed in, and has a passkey."""
    browser, device = signed_in(sign_on, login), Authenticator(ORIGIN, HOST, **how)
    page = browser.get("/account/passkey")
    said = browser.fill(page, "/account/passkey", credential=device.create(wanted(page)), name="My phone")
    assert said.location == "/account", said.text
    return browser, device


def use(browser: Browser, device: Authenticator, **changed: str) -> Said:
    """Sign in with a passkey."""
    page = browser.get("/sign-in")
    return browser.fill(page, "/sign-in/passkey", credential=device.get(wanted(page), **changed))


def row_of(page: Said) -> str:
    """The id of the first passkey on an account's page."""
    found = re.search(r'name="id" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def test_a_passkey_signs_in_without_a_password_until_it_is_removed(sign_on: SignOn) -> None:
    browser, device = with_passkey(sign_on, "pia")
    assert "My phone, since 20" in browser.get("/account").text
    other = Browser(sign_on)
    assert use(other, device).location == "/"
    page = other.get("/account")
    assert "with a passkey <strong>" in page.text
    assert other.fill(page, "/account/passkey/remove", id=row_of(page)).location == "/account"
    assert "My phone" not in other.get("/account").text
    said = use(Browser(sign_on), device)
    assert (said.status, "not known here" in said.text) == (403, True)
    assert Browser(sign_on).sign_in("pia@example.com").location == "/"
    assert [one["facts"]["name"] for one in sign_on.events("passkey-added")] == ["My phone"]
    assert [one["actor"] for one in sign_on.events("passkey-removed")] == ["pia"]


def test_whoever_comes_from_elsewhere_must_have_been_vouched_for_there_lately(sign_on: SignOn) -> None:
    _, device = with_passkey(sign_on, "petra")
    with closing(connect(sign_on.box.state / "appliance.db")) as connection:
        connection.execute("UPDATE person SET password = '' WHERE login = 'petra'")
        connection.execute(
            "INSERT INTO foreign_account (source, subject, person_id, linked_at, seen_at)"
            " SELECT 'https://login.example.com', 'petra', id, 1, 1 FROM person WHERE login = 'petra'"
        )
    said = use(Browser(sign_on), device)
    assert (said.status, "with your company&#39;s account" in said.text) == (403, True)
    assert sign_on.alive("petra@example.com") == 1, "the one from before"
    with closing(connect(sign_on.box.state / "appliance.db")) as connection:
        connection.execute("UPDATE foreign_account SET seen_at = ?", (now_us(),))
    assert use(Browser(sign_on), device).location == "/"


def test_the_first_owner_takes_a_passkey_along(sign_on: SignOn) -> None:
    password = "sieben blaue Gabeln warten"
    assert "Save, and add a passkey now" not in Browser(sign_on).get(link(sign_on, "olga", links.RESET)).text
    # As long as nobody owns it.
    with closing(connect(sign_on.box.state / "appliance.db")) as connection:
        connection.execute("UPDATE person SET password = '' WHERE login = 'olga'")
    at, browser = link(sign_on, "", links.OWNER), Browser(sign_on)
    page = browser.get(at)
    said = browser.fill(
        page, at, name="Otto", email="otto@example.com", password=password, again=password, then="passkey"
    )
    assert said.location == "/account/passkey?then=chat"
    page = browser.get(said.location)
    assert '<a href="/">Later</a>' in page.text
    device = Authenticator(ORIGIN, HOST)
    assert browser.fill(page, "/account/passkey", credential="{}").text.count('name="then" value="chat"') == 1
    said = browser.fill(page, "/account/passkey", credential=device.create(wanted(page)), name="Key")
    assert said.location == "/", "on to the chat"
    assert use(Browser(sign_on), device).location == "/"


def test_a_program_is_told_that_it_was_a_passkey(sign_on: SignOn) -> None:
    _, device = with_passkey(sign_on, "quentin")
    browser = Browser(sign_on)
    wiki = Program(sign_on, sign_on.client("Wiki", redirects=["http://127.0.0.1:9/callback"]))
    page = browser.get(wiki.request())
    said = browser.fill(page, "/sign-in/passkey", credential=device.get(wanted(page)))
    assert said.location.startswith("/authorize?")
    assert claims(wiki.tokens(browser)["id_token"])["amr"] == ["pop", "user"]


@pytest.mark.parametrize(
    ("login", "how"),
    [
        ("ada", {"origin": "https://ai.example.com.evil.example"}),
        ("bea", {"origin": "https://ai.example.com"}),
        ("cleo", {"host": "evil.example"}),
        ("dina", {"flags": PRESENT}),
        ("elsa", {"flags": 0}),
        ("fee", {"step": 0}),
    ],
    ids=["other page", "other port", "other host", "device did not ask who", "nobody there", "copied key"],
)
def test_a_passkey_that_is_not_used_as_it_should_be_lets_nobody_in(
    sign_on: SignOn, login: str, how: dict[str, Any]
) -> None:
    _, device = with_passkey(sign_on, login)
    assert use(Browser(sign_on), device).location == "/"
    for name, value in how.items():
        setattr(device, name, value)
    said = use(Browser(sign_on), device)
    assert (said.status, "not known here" in said.text) == (403, True)


def test_an_answer_is_taken_once_and_only_in_the_browser_that_was_asked(sign_on: SignOn) -> None:
    # A device that does not count, so that it is the challenge that is looked at.
    _, device = with_passkey(sign_on, "sven", step=0)
    one, other = Browser(sign_on), Browser(sign_on)
    page = one.get("/sign-in")
    answer = device.get(wanted(page))
    assert other.fill(other.get("/sign-in"), "/sign-in/passkey", credential=answer).status == 403
    assert one.fill(page, "/sign-in/passkey", credential=answer).location == "/"
    assert one.fill(page, "/sign-in/passkey", credential=answer).status == 403
    made_up = {"challenge": "A" * 75}
    for bad in ("", "[]", "{}", '{"id": 1}', "x" * 40_000, device.get(made_up)):
        assert one.fill(page, "/sign-in/passkey", credential=bad).status == 403, bad


def test_a_passkey_names_its_person_and_signs_with_its_own_key(sign_on: SignOn) -> None:
    _, device = with_passkey(sign_on, "tom", step=0)
    _, other = with_passkey(sign_on, "uwe", step=0)
    assert use(Browser(sign_on), device, userHandle=other.user).status == 403
    device.key = other.key
    assert use(Browser(sign_on), device).status == 403


def test_whoever_is_shut_out_cannot_come_in_by_a_passkey_and_a_program_never(sign_on: SignOn) -> None:
    _, device = with_passkey(sign_on, "vera", step=0)
    sign_on.box.run("users", "disable", "vera")
    said = use(Browser(sign_on), device)
    assert (said.status, "switched off" in said.text) == (403, True)
    sign_on.box.run("users", "enable", "vera")
    assert use(Browser(sign_on), device).location == "/"
    sign_on.box.run("users", "role", "vera", "service")
    assert "for a program" in use(Browser(sign_on), device).text


def test_a_passkey_is_added_and_removed_only_after_a_proof_of_a_moment_ago(sign_on: SignOn) -> None:
    browser, device = with_passkey(sign_on, "wanda")
    page, account = browser.get("/account/passkey"), browser.get("/account")
    age(sign_on, "wanda", 11)
    other = Authenticator(ORIGIN, HOST)
    said = browser.fill(page, "/account/passkey", credential=other.create(wanted(page)))
    assert said.location == "/sign-in?to=%2Faccount%2Fpasskey"
    assert browser.fill(account, "/account/passkey/remove", id=row_of(account)).location == "/sign-in?to=%2Faccount"
    asked = browser.get("/account/passkey")
    assert "show once more that it is you" in asked.text
    # A passkey is such a proof.
    said = browser.fill(asked, "/sign-in/passkey", credential=device.get(wanted(asked)))
    assert said.location == "/account/passkey"
    page = browser.get("/account/passkey")
    assert wanted(page)["excludeCredentials"]
    assert browser.fill(page, "/account/passkey", credential=other.create(wanted(page))).location == "/account"
    assert "Passkey, since" in browser.get("/account").text


def test_a_passkey_is_added_to_the_account_that_asked_and_once(sign_on: SignOn) -> None:
    xenia, yann = signed_in(sign_on, "xenia"), signed_in(sign_on, "yann")
    device, page = Authenticator(ORIGIN, HOST), xenia.get("/account/passkey")
    answer = device.create(wanted(page))
    said = yann.fill(yann.get("/account/passkey"), "/account/passkey", credential=answer)
    assert (said.status, "gave no passkey" in said.text) == (403, True)
    unverified = Authenticator(ORIGIN, HOST, flags=PRESENT)
    assert xenia.fill(page, "/account/passkey", credential=unverified.create(wanted(page))).status == 403
    assert xenia.fill(page, "/account/passkey", credential=answer).location == "/account"
    assert xenia.fill(page, "/account/passkey", credential=answer).status == 403
    # Nobody removes somebody else's.
    foreign = str(json.loads(answer)["id"])
    assert yann.fill(yann.get("/account"), "/account/passkey/remove", id=foreign).location == "/account"
    with closing(connect(sign_on.box.state / "appliance.db")) as connection:
        assert connection.execute("SELECT count(*) FROM passkey WHERE id = ?", (foreign,)).fetchone() == (1,)


def test_pages_with_a_passkey_run_our_script_and_no_other(sign_on: SignOn) -> None:
    said = sign_on.ask("GET", "/sign-in")
    assert said.headers["content-security-policy"].endswith("; script-src 'self'")
    assert re.findall(r"<script[^>]*>", said.text) == ['<script src="/passkeys.js" defer>']
    script = sign_on.ask("GET", "/passkeys.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert "navigator.credentials.get" in script.text
    # The form shows itself only where a browser can.
    assert re.search(r'<form[^>]*action="/sign-in/passkey"[^>]* hidden>', said.text)
