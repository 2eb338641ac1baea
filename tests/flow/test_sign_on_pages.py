"""The pages: passwords, codes, one-time links, languages, what keeps them safe."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pyotp
import pytest

from appliance.accounts import links, people, second_factor
from appliance.policy.roles import Role
from appliance.store.sessions import session
from bench.processes import own_mib
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, Said, SignOn

NEW = "sieben blaue Gabeln warten"


def link(sign_on: SignOn, login: str, purpose: str) -> str:
    """A one-time link's path; for the owner to be, of nobody."""
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        whose = people.find(opened, login) if login else None
        return links.PATH + links.make(opened, whose, purpose)[1]


def code(secret: str, steps: int = 0) -> str:
    """What an authenticator shows, some steps from now."""
    return pyotp.TOTP(secret).at(int(time.time()) + 30 * steps)


def test_an_invitation_is_for_choosing_a_password_once(sign_on: SignOn) -> None:
    sign_on.person("fred", password="")
    at, browser = link(sign_on, "fred", links.INVITE), Browser(sign_on)
    page = browser.get(at)
    assert "Welcome, Fred" in page.text
    for bad, word in (("short", "too short"), ("password1234", "guessed first"), ("fred.example.com", "your name")):
        said = browser.fill(page, at, password=bad, again=bad)
        assert (said.status, word in said.text) == (403, True), said.text
    said = browser.fill(page, at, password=NEW, again=PASSWORD)
    assert "not the same" in said.text
    assert browser.fill(page, at, password=NEW, again=NEW).location == "/"
    assert "fred@example.com" in browser.get("/").text
    assert "used up" in Browser(sign_on).get(at).text
    assert browser.fill(page, at, password=NEW, again=NEW).status == 403
    assert Browser(sign_on).sign_in("fred@example.com", NEW).location == "/"
    assert [one["facts"]["purpose"] for one in sign_on.events("link-used")] == ["invite"]


def test_a_new_password_ends_what_was_got_with_the_old_one(sign_on: SignOn) -> None:
    sign_on.person("gina")
    before, now = Browser(sign_on), Browser(sign_on)
    before.sign_in("gina@example.com")
    at = link(sign_on, "gina", links.RESET)
    assert now.fill(now.get(at), at, password=NEW, again=NEW).location == "/"
    assert before.ask("GET", "/").location == "/sign-in"
    assert Browser(sign_on).sign_in("gina@example.com").status == 403
    assert "too old" in now.get(links.PATH + "made-up").text


def test_the_first_owner_says_who_they_are(sign_on: SignOn) -> None:
    at, browser = link(sign_on, "", links.OWNER), Browser(sign_on)
    page = browser.get(at)
    assert "Set up your account" in page.text
    filled = {"name": "Olga Ostrow", "password": NEW, "again": NEW}
    assert "does not look like" in browser.fill(page, at, email="olga", **filled).text
    assert "already" in browser.fill(page, at, email="anna@example.com", **filled).text
    assert browser.fill(page, at, email="olga@example.com", **filled).location == "/"
    with session(sign_on.box.state / "appliance.db") as opened:
        assert people.find(opened, "olga").role == Role.OWNER


def test_whoever_has_an_authenticator_types_its_code_too(sign_on: SignOn) -> None:
    secret = second_factor.new_secret()
    sign_on.person("hans")
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        spare = second_factor.turn_on(opened, people.find(opened, "hans"), secret, code(secret, -1), time.time())
    browser = Browser(sign_on)
    page = browser.sign_in("hans@example.com")
    assert "authenticator" in page.text
    assert browser.ask("GET", "/").location == "/sign-in"
    said = browser.fill(page, "/sign-in", code="000000")
    assert (said.status, "not right" in said.text) == (403, True)
    right = code(secret)
    assert browser.fill(page, "/sign-in", code=right).location == "/"
    assert browser.get("/").status == 200
    assert "not right" in Browser(sign_on).sign_in("hans@example.com", code=right).text
    assert Browser(sign_on).sign_in("hans@example.com", code=spare[0]).location == "/"
    assert browser.fill(page, "/sign-in", code=spare[1]).location == "/sign-in?to="
    at = link(sign_on, "hans", links.RESET)
    assert "authenticator" in browser.fill(browser.get(at), at, password=NEW, again=NEW).text


def test_an_account_of_a_program_has_no_pages(sign_on: SignOn) -> None:
    sign_on.person("robot", Role.SERVICE)
    said = Browser(sign_on).sign_in("robot@example.com")
    assert (said.status, "for a program" in said.text) == (403, True)


@pytest.mark.parametrize("at", ["/sign-in", "/sign-out", "/welcome/none", "/nothing", "/authorize"])
def test_a_page_loads_nothing_from_elsewhere_and_cannot_be_framed(sign_on: SignOn, at: str) -> None:
    said = sign_on.ask("GET", at)
    policy = said.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; form-action 'self'")
    assert "frame-ancestors 'none'" in policy
    assert (said.headers["x-content-type-options"], said.headers["cache-control"]) == ("nosniff", "no-store")
    assert "<script" not in said.text
    assert "http" not in said.text
    assert "style=" not in said.text


def test_a_form_may_lead_on_to_the_program_that_waits_and_nowhere_else(sign_on: SignOn) -> None:
    def policy(**asked: str) -> str:
        said = sign_on.ask("GET", "/sign-in?to=/authorize%3F" + "%26".join(f"{k}%3D{v}" for k, v in asked.items()))
        return said.headers["content-security-policy"]

    about = sign_on.client("Onward", redirects=["https://chat.example.com:8443/cb"])
    good = policy(client_id=about["id"], redirect_uri="https%253A//chat.example.com%253A8443/cb")
    assert "form-action 'self' https://chat.example.com:8443;" in good
    assert "form-action 'self';" in policy(client_id=about["id"], redirect_uri="https%253A//evil.example/cb")


@pytest.mark.parametrize(
    ("wish", "word"),
    [("de", "Anmelden"), ("de-AT,en;q=0.5", "Anmelden"), ("fr, en;q=0.2, de;q=0.8", "Anmelden"), ("", "Sign in"),
     ("fr", "Sign in"), ("de;q=0", "Sign in"), ("en-GB", "Sign in")],
)  # fmt: skip
def test_a_page_speaks_the_browsers_language(sign_on: SignOn, wish: str, word: str) -> None:
    said = sign_on.ask("GET", "/sign-in", headers={"Accept-Language": wish})
    assert f"<h1>{word}</h1>" in said.text
    assert f'<html lang="{said.headers["content-language"]}">' in said.text


def test_the_language_that_somebody_chooses_stays(sign_on: SignOn) -> None:
    sign_on.person("lara")
    browser = Browser(sign_on, headers={"Accept-Language": "en"})
    page = browser.get("/sign-in?to=%2Fdevice")
    assert '<button name="language" value="de" lang="de">Deutsch</button>' in page.text
    assert 'value="en"' not in page.text, "the one that it speaks already is not offered"
    said = browser.fill(page, "/language", language="de")
    assert (said.status, said.location) == (303, "/sign-in?to=%2Fdevice")
    assert "Max-Age=" in said.cookies[0]
    german = browser.get(said.location)
    assert ("<h1>Anmelden</h1>" in german.text, german.headers["content-language"]) == (True, "de")
    assert browser.ask("GET", "/no-such-page").text.count("Diese Seite gibt es nicht") == 1
    assert browser.fill(german, "/sign-in", email="lara@example.com", password=PASSWORD).location == "/device"
    account = browser.get("/account")
    assert "Wo Sie angemeldet sind" in account.text
    said = browser.fill(account, "/language", language="en")
    assert said.location == "/account"
    assert "Where you are signed in" in browser.get("/account").text
    # Nothing but what there is, only by a form of ours, and nobody is sent elsewhere.
    for wrong in ("xx", "../en", "de\r\nX: y"):
        assert browser.fill(account, "/language", language=wrong).cookies == []
    assert browser.fill(page, "/language", language="en", to="https://evil.example/").location == "/sign-in"
    assert Browser(sign_on).ask("POST", "/language", {"language": "de"}).status == 403
    browser.cookies["appliance-language"] = "klingon"
    assert "<h1>Sign in</h1>" in browser.ask("GET", "/sign-in").text


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(sign_on: SignOn) -> None:
    said: list[Said] = []
    browser = Browser(sign_on)
    said.append(browser.ask("GET", "/sign-in"))
    said.append(browser.fill(said[0], "/sign-in", email="anna@example.com", password=PASSWORD))
    cookies = [cookie for one in said for cookie in one.cookies]
    assert len(cookies) == 3
    assert all("; Path=/; HttpOnly; SameSite=Lax" in cookie for cookie in cookies)
    assert sum("Max-Age" in cookie for cookie in cookies) == 1


def test_what_people_type_is_shown_as_they_typed_it(sign_on: SignOn) -> None:
    said = Browser(sign_on).sign_in('"><script>alert(1)</script>@example.com', "a guess of mine")
    assert "<script>" not in said.text
    assert "&gt;&lt;script&gt;" in said.text


def test_a_refused_sign_in_is_on_record_without_what_was_typed(sign_on: SignOn) -> None:
    sign_on.person("greta")
    secret, unknown = "this is my real password", "typed-by-mistake@example.com"
    for email, password in (("greta@example.com", secret), (unknown, PASSWORD), (secret, secret)):
        assert Browser(sign_on).sign_in(email, password).status == 403
    # Earlier tests may have begun this minute's count: so there is a row, if not one for each.
    rows = sign_on.events("sign-in-refused")
    assert {one["actor"] for one in rows} == {"127.0.0.1"}
    assert "sign-in-refused" in {one["facts"]["code"] for one in rows}
    exported = sign_on.box.run("audit", "tail", "-n", "1000").stdout
    assert "was not let in as" in exported
    for never in (secret, unknown, PASSWORD):
        assert never not in exported


def test_what_hashing_passwords_takes_is_given_back(sign_on: SignOn) -> None:
    """Each takes 19 MiB; a thread that kept them would have them for good, on a large machine sixteen times."""
    assert sign_on.process is not None
    # All that a first sign-in brings into memory besides.
    assert Browser(sign_on).sign_in("emil@example.com").location == "/"
    before = own_mib(sign_on.process.pid)
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: Browser(sign_on).sign_in("emil@example.com"), range(8)))
    assert {one.location for one in said} == {"/"}
    assert own_mib(sign_on.process.pid) - before < 12
