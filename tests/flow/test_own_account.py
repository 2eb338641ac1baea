"""The page of one's own account: where one is signed in, the password, the authenticator, and fresh proofs."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing

import pytest

from appliance.accounts import links
from appliance.identity.place import Place
from appliance.store.schema import connect
from tests.flow.test_sign_on_pages import NEW, code, link
from tests.support.box import Box, environment, wait_until
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, Program, Said, SignOn


def signed_in(sign_on: SignOn, login: str) -> Browser:
    """The browser of somebody new, signed in."""
    sign_on.person(login)
    browser = Browser(sign_on)
    assert browser.sign_in(f"{login}@example.com").location == "/"
    return browser


def age(sign_on: SignOn, login: str, minutes: int) -> None:
    """Make all sign-ons of somebody older."""
    whose = "person_id = (SELECT id FROM person WHERE login = ?)"
    with closing(connect(sign_on.box.state / "appliance.db")) as connection:
        connection.execute(f"UPDATE sign_on SET began_at = began_at - ? WHERE {whose}", (minutes * 60_000_000, login))


def secret_of(page: Said) -> str:
    """The secret that a page shows for an authenticator."""
    return page.hidden()["secret"]


def with_authenticator(browser: Browser) -> tuple[str, list[str]]:
    """Set up an authenticator: its secret, and the recovery codes."""
    page = browser.get("/account/authenticator")
    secret = secret_of(page)
    said = browser.fill(page, "/account/authenticator", code=code(secret, -1))
    assert said.status == 200, said.text
    return secret, re.findall(r"<li>([a-z2-7-]{19})</li>", said.text)


def test_whoever_signs_in_lands_on_their_own_account(sign_on: SignOn) -> None:
    browser = signed_in(sign_on, "ida")
    page = browser.get("/")
    assert "<h1>Ida</h1>" in page.text
    assert "ida@example.com" in page.text
    assert len(re.findall(r"<li>Since 20[\d-]{8} [\d:]{5} UTC, with password <strong>", page.text)) == 1
    assert Browser(sign_on).ask("GET", "/account").location == "/sign-in"
    german = Browser(sign_on, dict(browser.cookies), {"Accept-Language": "de"}).get("/account")
    assert "Wo Sie angemeldet sind" in german.text


def test_whoever_knows_the_old_password_sets_a_new_one_and_is_signed_out_everywhere_else(sign_on: SignOn) -> None:
    here, there = signed_in(sign_on, "jana"), Browser(sign_on)
    there.sign_in("jana@example.com")
    page = here.get("/account")

    def change(old: str, new: str, again: str = "") -> Said:
        return here.fill(page, "/account/password", old=old, password=new, again=again or new)

    for old, new, again, word in (
        (NEW, NEW, "", "present password is not right"),
        (PASSWORD, "short", "", "too short"),
        (PASSWORD, "jana.example.com", "", "your name"),
        (PASSWORD, NEW, PASSWORD, "not the same"),
    ):
        said = change(old, new, again)
        assert (said.status, word in said.text) == (403, True), said.text
    reset = link(sign_on, "jana", links.RESET)
    assert there.ask("GET", "/account").status == 200
    assert "password is changed" in change(PASSWORD, NEW).text
    assert there.ask("GET", "/account").location == "/sign-in"
    assert here.ask("GET", "/account").status == 200
    assert "used up or too old" in there.get(reset).text
    assert Browser(sign_on).sign_in("jana@example.com").status == 403
    assert Browser(sign_on).sign_in("jana@example.com", NEW).location == "/"
    assert [one["actor"] for one in sign_on.events("password-changed")] == ["jana"]


def test_a_browser_that_is_left_signed_in_is_no_place_to_guess_the_password(sign_on: SignOn) -> None:
    browser = signed_in(sign_on, "kim")
    page = browser.get("/account")
    said = [browser.fill(page, "/account/password", old=f"guess {n}", password=NEW, again=NEW) for n in range(11)]
    assert [one.status for one in said] == [403] * 10 + [429]
    assert browser.fill(page, "/account/password", old=PASSWORD, password=NEW, again=NEW).status == 429
    # That is about this page: with the password they sign in as before.
    assert Browser(sign_on).sign_in("kim@example.com").location == "/"


def test_signing_out_everywhere_else_ends_programs_there_too(sign_on: SignOn, wiki: Program) -> None:
    here, there = signed_in(sign_on, "lena"), Browser(sign_on)
    there.sign_in("lena@example.com")
    tokens, kept = wiki.tokens(there), wiki.tokens(here)
    page = here.get("/account")
    assert "Programs that use your account: Wiki" in page.text
    assert page.text.count("<li>Since") == 2
    said = here.fill(page, "/account/sign-out-others")
    assert "signed out everywhere else" in said.text
    assert said.text.count("<li>Since") == 1
    assert there.ask("GET", "/account").location == "/sign-in"
    assert (wiki.active(tokens["access_token"]), wiki.active(kept["access_token"])) == (False, True)


def test_an_authenticator_is_asked_for_once_a_code_of_it_was_shown(sign_on: SignOn) -> None:
    browser = signed_in(sign_on, "mia")
    page = browser.get("/account/authenticator")
    secret = secret_of(page)
    assert "<svg viewBox=" in page.text
    assert " ".join(secret[at : at + 4] for at in range(0, 32, 4)) in page.text
    said = browser.fill(page, "/account/authenticator", code="000000")
    assert (said.status, secret_of(said)) == (403, secret)
    assert Browser(sign_on).sign_in("mia@example.com").location == "/"
    said = browser.fill(said, "/account/authenticator", code=code(secret, -1))
    codes = re.findall(r"<li>([a-z2-7-]{19})</li>", said.text)
    assert len(codes) == 10
    assert "10 recovery codes are left" in browser.get("/account").text
    assert "authenticator app" in Browser(sign_on).sign_in("mia@example.com").text
    assert Browser(sign_on).sign_in("mia@example.com", code=codes[0]).location == "/"
    assert "9 recovery codes are left" in browser.get("/account").text


def test_new_recovery_codes_void_the_old_ones_and_go_with_the_authenticator(sign_on: SignOn) -> None:
    browser = signed_in(sign_on, "nora")
    _, old = with_authenticator(browser)
    page = browser.get("/account")
    new = re.findall(r"<li>([a-z2-7-]{19})</li>", browser.fill(page, "/account/recovery-codes").text)
    assert len({*old, *new}) == 20
    assert "not right" in Browser(sign_on).sign_in("nora@example.com", code=old[0]).text
    assert Browser(sign_on).sign_in("nora@example.com", code=new[0]).location == "/"
    assert browser.fill(page, "/account/authenticator/remove").location == "/account"
    assert Browser(sign_on).sign_in("nora@example.com").location == "/"
    assert browser.fill(page, "/account/recovery-codes").location == "/account"
    for action in ("authenticator-added", "recovery-codes-made", "authenticator-removed"):
        assert "nora" in [one["actor"] for one in sign_on.events(action)]


@pytest.mark.parametrize("at", ["/account/authenticator", "/account/authenticator/remove", "/account/recovery-codes"])
def test_what_people_prove_themselves_with_is_changed_only_after_a_proof_of_a_moment_ago(
    sign_on: SignOn, at: str
) -> None:
    login = f"ole-{len(at)}"
    browser = signed_in(sign_on, login)
    secret, _ = with_authenticator(browser)
    page = browser.get("/account")
    form = {"secret": "A" * 32, "code": code("A" * 32)}
    age(sign_on, login, 11)
    assert browser.fill(page, at, **form).location.startswith("/sign-in?to=%2Faccount")
    asked = browser.get("/account/authenticator")
    assert "show once more that it is you" in asked.text
    assert f'value="{login}@example.com"' in asked.text
    assert "code of your app" in browser.get("/account").text
    # The password alone is no proof for whoever has an authenticator.
    half = browser.fill(asked, "/sign-in", email=f"{login}@example.com", password=PASSWORD)
    assert browser.fill(page, at, **form).location.startswith("/sign-in?to=%2Faccount")
    assert browser.fill(half, "/sign-in", code=code(secret)).location == "/account/authenticator"
    assert browser.fill(browser.get("/account"), at, **form).status in (200, 303)
    assert len(sign_on.events("signed-in")) > 1
    assert ("code of your app" in browser.get("/account").text) == (at != "/account/authenticator/remove")


def test_a_form_of_the_account_page_that_others_send_is_refused(sign_on: SignOn, anna: Browser) -> None:
    for at in ("password", "sign-out-others", "authenticator", "authenticator/remove", "recovery-codes"):
        said = anna.ask("POST", f"/account/{at}", {"token": "made up", "old": PASSWORD})
        assert said.status == 403, at


@pytest.mark.slow
def test_where_people_land_can_be_another_page_that_the_form_may_lead_to(box: Box) -> None:
    chat = "https://chat.example.com:8443/"
    sign_on = SignOn(box)
    box.configure(sign_on.settings)
    sign_on.person("anna")
    place = Place(str(box.config), str(box.state), "127.0.0.1", sign_on.port, sign_on.issuer, landing=chat)
    argv = [sys.executable, "-P", "-m", "appliance.cli.sign_on", place.to_json()]
    sign_on.process = subprocess.Popen(argv, env=environment())
    try:
        wait_until(sign_on.answers, 60, "sign-on's health")
        page = sign_on.ask("GET", "/sign-in")
        # A browser looks at every step that follows a form.
        assert "form-action 'self' https://chat.example.com:8443;" in page.headers["content-security-policy"]
        browser = Browser(sign_on)
        assert browser.sign_in("anna@example.com").location == "/"
        assert browser.ask("GET", "/").location == chat
        page = browser.get("/account")
        assert "<h1>Anna</h1>" in page.text
        assert f'<a class="button" href="{chat}">Go to the chat</a>' in page.text
        assert Browser(sign_on).ask("GET", "/").location == "/sign-in"
    finally:
        sign_on.stop()
