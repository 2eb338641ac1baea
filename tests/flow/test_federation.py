"""Signing in with another provider: a real browser's way there and back, and a provider that misbehaves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pyotp
import pytest

from appliance.accounts import people, second_factor, suspension
from appliance.accounts.groups import members
from appliance.accounts.people_tables import Person
from appliance.policy.roles import Role
from appliance.store.sessions import session
from tests.support.box import Box
from tests.support.sign_on import Browser, Said, SignOn, query
from tests.support.upstream import SECRET, FakeUpstream

GROUPS = 'label = "Example Login"\ngroups = { "Sales EU" = "sales", "Research" = "lab", "Gone" = "nowhere" }\n'


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    """The other provider."""
    found = FakeUpstream.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> Iterator[SignOn]:
    """A sign-on that knows the other provider, under two names."""
    found = SignOn(Box(tmp_path_factory.mktemp("fed")))
    secret = found.box.folder / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    tables = upstream.settings("login", secret, GROUPS) + upstream.settings("other", secret)
    found.box.configure(found.settings + tables)
    found.person("olga", Role.OWNER, "sales", "lab")
    found.person("anna", name="Anna Schmidt")
    found.start()
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def good(upstream: FakeUpstream) -> None:
    """It behaves, unless a test tells it otherwise."""
    upstream.do()


def left(browser: Browser, name: str = "login", to: str = "") -> str:
    """The path at the provider that a browser is sent to."""
    said = browser.ask("GET", f"/sign-in/with/{name}{f'?to={to}' if to else ''}")
    assert said.status == 303, said.text
    parts = urlsplit(said.location)
    return f"{parts.path}?{parts.query}"


def came_back(upstream: FakeUpstream, browser: Browser, at: str) -> Said:
    """What a browser is answered that comes back from a path of the provider."""
    parts = urlsplit(upstream.ask("GET", at)[1])
    return browser.ask("GET", f"{parts.path}?{parts.query}")


def through(upstream: FakeUpstream, browser: Browser, **todo: Any) -> Said:
    """There and back with a provider that behaves so."""
    upstream.do(**todo)
    return came_back(upstream, browser, left(browser))


def somebody(fed: SignOn, said: str) -> Person | None:
    """Who has an address."""
    with session(fed.box.state / "appliance.db") as opened:
        return people.by_email(opened, said)


def groups(fed: SignOn, email: str) -> list[str]:
    """The groups that somebody is in."""
    with session(fed.box.state / "appliance.db") as opened:
        return members(opened).get(people.find(opened, email).id, [])


def why(fed: SignOn) -> str:
    """The last line of the log."""
    return (fed.box.folder / "identity.log").read_text().splitlines()[-1]


def test_the_page_has_a_button_that_works_without_javascript(fed: SignOn) -> None:
    page = Browser(fed).get("/sign-in?to=/device")
    assert '<a class="button" href="/sign-in/with/login?to=%2Fdevice">Sign in with Example Login</a>' in page.text
    assert "Mit Example Login anmelden" in Browser(fed, headers={"Accept-Language": "de"}).get("/sign-in").text


@pytest.mark.slow
def test_whoever_is_new_gets_an_account_and_goes_on_to_where_they_were_going(
    fed: SignOn, upstream: FakeUpstream
) -> None:
    browser = Browser(fed)
    at = left(browser, to="/device")
    asked = query(at)
    assert asked["redirect_uri"] == [f"{fed.issuer}/sign-in/from/login"]
    assert asked["scope"] == ["openid email profile"]
    said = came_back(upstream, browser, at)
    assert (said.status, said.location) == (303, "/device"), said.text
    account = browser.get("/").text
    assert "fed@example.com" in account
    assert "Change the password" not in account
    listed = {one["email"]: one for one in fed.box.document("users", "list")}
    assert {
        name: listed["fed@example.com"][name] for name in ("name", "login", "role", "groups", "state", "sources")
    } == {
        "name": "Fed Erated", "login": "fed", "role": "staff", "groups": [], "state": "active",
        "sources": [upstream.issuer],
    }  # fmt: skip
    assert listed["anna@example.com"]["sources"] == []
    (linked,) = fed.events("person-linked")
    assert (linked["target"], linked["actor"], linked["facts"]["source"]) == ("fed", "provider:login", upstream.issuer)
    assert fed.events("signed-in")[-1]["facts"]["means"] == "fed"
    # The second time it is the same person, whatever their address has become there.
    assert through(upstream, Browser(fed), claims={"email": "married@example.com"}).location == "/"
    assert somebody(fed, "married@example.com") is None


def test_an_owner_is_not_linked_whatever_the_provider_says(fed: SignOn, upstream: FakeUpstream) -> None:
    browser = Browser(fed)
    assert through(upstream, browser, claims={"sub": "olga-1", "email": "olga@example.com"}).status == 403
    assert "owners sign in with what they have here" in why(fed)
    assert 'name="password"' in browser.get("/").text


@pytest.mark.slow
def test_an_account_here_is_linked_by_a_verified_address_of_a_domain_that_the_provider_vouches_for(
    fed: SignOn, upstream: FakeUpstream
) -> None:
    for claims in (
        {"email_verified": False},
        {"email_verified": None},
        {"email_verified": "true"},
        {"email": None},
        {"email": ["anna@example.com"]},
        {"email": "anna@example.com.evil.example"},
        {"email": "anna@sub.example.com"},
        {"email": "anna@example.com\u0000"},
    ):
        said = through(upstream, Browser(fed), claims={"sub": "anna-1", "email": "anna@example.com", **claims})
        assert (said.status, "has no access here" in said.text) == (403, True), claims
        assert '"account-not-vouched"' in why(fed)
    # Entra says it in a way of its own.
    entra = {"sub": "anna-1", "email": "Anna@Example.com", "email_verified": None, "xms_edov": "1"}
    browser = Browser(fed)
    assert through(upstream, browser, claims=entra).location == "/"
    assert "Anna Schmidt" in browser.get("/").text
    # A second account there with the same address is somebody else, perhaps who came later.
    said = through(upstream, Browser(fed), claims={"sub": "anna-2", "email": "anna@example.com"})
    assert (said.status, "another account" in why(fed)) == (403, True)
    done = fed.box.document("users", "unlink", "anna@example.com")
    assert done["accounts"] == 1
    assert through(upstream, Browser(fed), claims={"sub": "anna-2", "email": "anna@example.com"}).location == "/"


def test_an_address_may_come_from_userinfo(fed: SignOn, upstream: FakeUpstream) -> None:
    ines = {"sub": "ines", "email": "ines@example.com", "email_verified": True, "groups": ["Research"]}
    nothing = {"email": None, "email_verified": None, "sub": "ines"}
    assert through(upstream, Browser(fed), claims=nothing, userinfo={**ines, "sub": "fed"}).status == 502
    assert through(upstream, Browser(fed), claims=nothing, userinfo={**ines, "email_verified": 1}).status == 403
    assert through(upstream, Browser(fed), claims=nothing, userinfo=ines).location == "/"
    assert groups(fed, "ines@example.com") == ["lab"]


@pytest.mark.slow
def test_groups_follow_the_providers_and_those_given_by_hand_stay(fed: SignOn, upstream: FakeUpstream) -> None:
    gina = {"sub": "gina", "email": "gina@example.com"}

    def signed_in(groups_there: Any) -> list[str]:
        assert through(upstream, Browser(fed), claims={**gina, "groups": groups_there}).location == "/"
        return groups(fed, "gina@example.com")

    assert signed_in(["Sales EU", "Research", "Unmapped", "Gone", 7]) == ["lab", "sales"]
    assert '"mapped-group-missing"' in (fed.box.folder / "identity.log").read_text()
    assert signed_in(["Sales EU"]) == ["sales"]
    assert signed_in([]) == []
    assert signed_in("Research") == ["lab"]
    fed.box.run("groups", "join", "lab", "gina@example.com")
    nothings: tuple[Any, ...] = (None, [], {"Research": True}, "research")
    for nothing in nothings:
        assert signed_in(nothing) == ["lab"], nothing
    fed.box.run("groups", "leave", "lab", "gina@example.com")
    assert signed_in(["Sales EU"]) == ["sales"]
    assert [one["facts"]["group"] for one in fed.events("group-left")].count("lab") == 2


@pytest.mark.slow
def test_whoever_is_shut_out_or_removed_here_stays_out(fed: SignOn, upstream: FakeUpstream) -> None:
    hans = {"sub": "hans", "email": "hans@example.com"}
    assert through(upstream, Browser(fed), claims=hans).location == "/"
    fed.box.run("users", "disable", "hans@example.com")
    said = through(upstream, Browser(fed), claims=hans)
    assert (said.status, "switched off" in said.text) == (403, True)
    fed.box.run("users", "enable", "hans@example.com")
    assert through(upstream, Browser(fed), claims=hans).location == "/"
    fed.box.run("users", "remove", "hans@example.com", "--yes")
    for sub in ("hans", "hans-2"):
        assert through(upstream, Browser(fed), claims={**hans, "sub": sub}).status == 403
    assert somebody(fed, "hans@example.com") is None
    # Only the admin's own hand lets them in again.
    fed.box.run("users", "add", "hans@example.com")
    assert through(upstream, Browser(fed), claims=hans).location == "/"
    assert fed.events("signed-in")[-1]["actor"] == "hans2"


def test_a_team_that_is_shut_out_is_shut_out_here_too(fed: SignOn, upstream: FakeUpstream) -> None:
    ilse = {"sub": "ilse", "email": "ilse@example.com", "groups": ["Research"]}
    browser = Browser(fed)
    assert through(upstream, browser, claims=ilse).location == "/"
    with session(fed.box.state / "appliance.db", alone=True) as opened:
        suspension.suspend(opened, suspension.TEAM, "lab")
    try:
        assert through(upstream, Browser(fed), claims={**ilse, "groups": []}).status == 403
        assert browser.get("/").text.count("Sign in")
    finally:
        with session(fed.box.state / "appliance.db", alone=True) as opened:
            suspension.resume(opened, suspension.TEAM, "lab")


@pytest.mark.slow
def test_whoever_has_an_authenticator_here_is_asked_for_its_code(fed: SignOn, upstream: FakeUpstream) -> None:
    fed.person("kurt")
    secret = second_factor.new_secret()
    code = pyotp.TOTP(secret).at
    with session(fed.box.state / "appliance.db", alone=True) as opened:
        second_factor.turn_on(opened, people.find(opened, "kurt"), secret, code(time.time() - 30), time.time())
    browser = Browser(fed)
    page = through(upstream, browser, claims={"sub": "kurt", "email": "kurt@example.com"})
    assert "authenticator" in page.text
    assert browser.ask("GET", "/").location == "/sign-in"
    assert browser.fill(page, "/sign-in", code="000000").status == 403
    assert browser.fill(page, "/sign-in", code=code(time.time())).location == "/"
    assert fed.events("signed-in")[-1]["facts"]["means"] == "fed otp"


def test_whoever_must_prove_it_once_more_proves_it_there(fed: SignOn, upstream: FakeUpstream) -> None:
    vera = {"sub": "vera", "email": "vera@example.com"}
    browser = Browser(fed)
    assert through(upstream, browser, claims=vera).location == "/"
    at = left(browser, to="/account")
    assert (query(at)["prompt"], query(at)["max_age"]) == (["login"], ["0"])
    for auth_time, status in ((None, 502), ({"now": -3600}, 502), ({"now": 0}, 303)):
        upstream.do(claims={**vera, "auth_time": auth_time})
        assert came_back(upstream, browser, left(browser, to="/account")).status == status


@pytest.mark.parametrize(
    ("word", "todo"),
    [
        ("answers another request", {"claims": {"nonce": "another"}}),
        ("answers another request", {"claims": {"nonce": None}}),
        ("for somebody else", {"claims": {"aud": "another"}}),
        ("for somebody else", {"claims": {"aud": ["appliance", "another"]}}),
        ("for somebody else", {"claims": {"aud": ["appliance"], "azp": "another"}}),
        ("for somebody else", {"claims": {"aud": None}}),
        ("another issuer", {"claims": {"iss": "http://127.0.0.1:1"}}),
        ("expired", {"claims": {"exp": {"now": -3600}}}),
        ("expired", {"claims": {"exp": None}}),
        ("expired", {"claims": {"exp": "never"}}),
        ("not from now", {"claims": {"iat": {"now": 3600}}}),
        ("not from now", {"claims": {"iat": {"now": -3600}}}),
        ("not from now", {"claims": {"iat": None}}),
        ("not valid yet", {"claims": {"nbf": {"now": 3600}}}),
        ("names nobody", {"claims": {"sub": ""}}),
        ("names nobody", {"claims": {"sub": 7}}),
        ("not signed as it must", {"alg": "none"}),
        ("not signed as it must", {"alg": "HS256"}),
        ("not signed as it must", {"alg": "RS512"}),
        ("not signed as it must", {"stranger": True}),
        ("unknown key", {"kid": "nine"}),
        ("unknown key", {"kid": "two"}),
        ("another provider's", {"answer": {"iss": "http://127.0.0.1:1"}}),
        ("another provider's", {"answer": {"iss": None}}),
        ("access_denied", {"answer": {"code": None, "error": "access_denied"}}),
        ("without a code", {"answer": {"code": None}}),
    ],
)
def test_a_word_that_is_not_right_lets_nobody_in(
    fed: SignOn, upstream: FakeUpstream, word: str, todo: dict[str, Any]
) -> None:
    browser = Browser(fed)
    claims = {"sub": "ursula", "email": "ursula@example.com", **todo.get("claims", {})}
    said = through(upstream, browser, **{**todo, "claims": claims})
    assert (said.status, "did not let you in" in said.text) == (502, True), said.text
    assert word in why(fed)
    assert '"provider-refused"' in why(fed)
    assert browser.ask("GET", "/").location == "/sign-in"
    assert somebody(fed, "ursula@example.com") is None


@pytest.mark.parametrize("todo", [{"alg": "RS256"}, {"alg": "ES256"}, {"alg": "PS256"}, {"rotate": True}])
def test_every_signature_that_only_the_provider_can_make_counts_and_a_new_key_too(
    fed: SignOn, upstream: FakeUpstream, todo: dict[str, Any]
) -> None:
    assert through(upstream, Browser(fed), **todo).location == "/"


def test_a_journey_ends_once_in_the_browser_that_began_it(fed: SignOn, upstream: FakeUpstream) -> None:
    mine, theirs = Browser(fed), Browser(fed)
    at = left(mine)
    parts = urlsplit(upstream.ask("GET", at)[1])
    back = f"{parts.path}?{parts.query}"
    cookies = dict(mine.cookies)
    # Whoever makes others open their own answer does not sign them in as themselves.
    left(theirs)
    for stranger in (theirs, Browser(fed)):
        said = stranger.ask("GET", back)
        assert (said.status, "took too long" in said.text) == (403, True)
    # Nor does an answer for one provider count at the address of another.
    mine.cookies = dict(cookies)
    assert mine.ask("GET", back.replace("/from/login", "/from/other")).status == 403
    mine.cookies = dict(cookies)
    assert mine.ask("GET", back).location == "/"
    mine.cookies = dict(cookies)
    assert mine.ask("GET", back).status == 403
    assert '"sign-in-expired"' in why(fed)
    mine.cookies = {name: value[:-1] + "0" for name, value in cookies.items()}
    assert mine.ask("GET", back).status == 403


def test_a_field_that_comes_twice_is_refused(fed: SignOn, upstream: FakeUpstream) -> None:
    browser = Browser(fed)
    parts = urlsplit(upstream.ask("GET", left(browser))[1])
    assert browser.ask("GET", f"{parts.path}?{parts.query}&code=other").status == 502


def test_nobody_is_sent_on_to_another_host(fed: SignOn, upstream: FakeUpstream) -> None:
    for to in ("https://evil.example/", "//evil.example/", "/sign-out", "/device/../x"):
        browser = Browser(fed)
        assert came_back(upstream, browser, left(browser, to=to)).location == "/"
    assert Browser(fed).ask("GET", "/sign-in/with/unknown").status == 404
    assert Browser(fed).ask("GET", "/sign-in/from/unknown?code=1&state=2").status == 404


@pytest.mark.parametrize("how", ["fails", "huge", "no JSON", "moves"])
def test_a_provider_that_does_not_answer_is_a_clear_message_and_others_sign_in(
    fed: SignOn, upstream: FakeUpstream, how: str
) -> None:
    for path in ("/token", "/userinfo"):
        said = through(upstream, Browser(fed), at={path: how}, claims={"email": None})
        assert (said.status, "does not answer" in said.text) == (503, True), said.text
        assert '"provider-unreachable"' in why(fed)
    assert "/elsewhere" not in upstream.asked()
    assert Browser(fed).sign_in("anna@example.com").location == "/"


@pytest.mark.slow
def test_a_provider_that_answers_byte_by_byte_is_given_up(fed: SignOn, upstream: FakeUpstream) -> None:
    began = time.monotonic()
    assert through(upstream, Browser(fed), at={"/token": "drips"}).status == 503
    assert time.monotonic() - began < 20
    assert "took longer than 10 s" in why(fed)


@pytest.mark.slow
def test_what_is_wrong_is_said_in_one_sentence(fed: SignOn, upstream: FakeUpstream) -> None:
    secret = fed.box.folder / "secret"
    said = fed.box.document("sign-in", "check", code=2)["error"]
    assert (said["code"], "nowhere" in said["message"]) == ("group-not-found", True)
    (good,) = fed.box.document("sign-in", "check", "other")
    assert good == {
        "name": "other", "issuer": upstream.issuer, "redirect": f"{fed.issuer}/sign-in/from/other", "ok": True,
    }  # fmt: skip
    issuer = "http://127.0.0.1:1"
    for todo, word in (
        ({"about": {"issuer": issuer}}, f"calls itself {issuer}"),
        ({"about": {"token_endpoint": "http://evil.example/token"}}, "token_endpoint is no https"),
        ({"about": {"token_endpoint": None}}, "token_endpoint is no https"),
        ({"at": {"/jwks": "fails"}}, "answered 500"),
        ({"at": {"/.well-known/openid-configuration": "huge"}}, "more than 1 MiB"),
    ):
        upstream.do(**todo)
        assert word in fed.box.document("sign-in", "check", "other", code=1)["error"]["message"], word
    upstream.do()
    secret.chmod(0o640)
    try:
        assert "others can read" in fed.box.run("sign-in", "check", "other", code=1).stderr
        assert through(upstream, Browser(fed)).status == 503
        assert '"provider-secret-bad"' in why(fed)
    finally:
        secret.chmod(0o600)
    secret.write_text("another")
    try:
        assert through(upstream, Browser(fed)).status == 503
        assert "invalid_client" in why(fed)
        assert "the secret is another" in fed.box.run("sign-in", "check", "other", code=1).stderr
    finally:
        secret.write_text(SECRET)
    assert fed.box.document("sign-in", "check", "nobody", code=2)["error"]["code"] == "provider-not-found"
