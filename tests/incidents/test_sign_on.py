"""Incidents of sign-on: who becomes what, where pages lead, and who is signed in where."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from appliance.accounts import links
from tests.contract.test_routes import SIGN_ON as TABLE
from tests.support.box import Box
from tests.support.hands import link, role_of, signed_in
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, Program, Said, SignOn, claims

NEW = "sieben blaue Gabeln warten"
EVIL = "https://evil.example"


# Who becomes what.


@pytest.mark.slow
def test_first_user_becomes_admin(tmp_path: Path) -> None:
    """Elsewhere whoever signed in first on a new box was its admin, whatever the company's sign-on said of them."""
    fresh = SignOn(Box(tmp_path))
    fresh.box.configure(fresh.settings)
    fresh.person("early")
    fresh.start()
    try:
        wiki = Program(fresh, fresh.client("Wiki", redirects=["http://127.0.0.1:9/callback"]))
        browser = signed_in(fresh, "early")
        told = claims(wiki.tokens(browser)["id_token"])
        assert (told["roles"], told["groups"]) == (["staff"], ["everyone"])
        assert role_of(fresh, "early@example.com") == "staff"
        # Nobody makes an account by asking for a page.
        token = browser.get("/sign-in").hidden()["token"]
        form = {"token": token, "email": "eve@example.com", "password": NEW, "again": NEW, "role": "owner"}
        for path in ("/sign-in", "/sign-up", "/register", "/welcome/", "/welcome/first", "/welcome/owner"):
            assert browser.ask("POST", path, form).status in (403, 404), path
        assert role_of(fresh, "eve@example.com") == ""
        # The link for the first owner works once, for one, also for two who use it at the same moment.
        at, made = link(fresh, "", links.OWNER), {}
        older, at = at, link(fresh, "", links.OWNER)
        assert "not one of ours" in fresh.ask("GET", older).text or fresh.ask("GET", older).status == 403

        def take(name: str) -> None:
            mine = Browser(fresh)
            fields = {"name": name, "email": f"{name}@example.com", "password": NEW, "again": NEW}
            made[name] = mine.fill(mine.get(at), at, **fields).status

        racers = [threading.Thread(target=take, args=(f"racer{number}",)) for number in range(4)]
        for one in racers:
            one.start()
        for one in racers:
            one.join(60)
        assert Counter(made.values()) == {303: 1, 403: 3}
        assert sorted(role_of(fresh, f"{name}@example.com") for name in made) == ["", "", "", "owner"]
    finally:
        fresh.stop()


def test_mass_assignment(sign_on: SignOn) -> None:
    """Elsewhere a form took whatever fields came, the role among them; or the address, and so anybody's password."""
    sign_on.person("mia", password="")
    at, browser = link(sign_on, "mia"), Browser(sign_on)
    more = {
        "role": "owner", "email": "anna@example.com", "login": "anna", "name": "Eve", "id": "per-1", "is_admin": "true",
        "person_id": "per-1", "team": "sales", "groups": "sales", "purpose": "owner", "totp": "", "half": "x",
    }  # fmt: skip
    assert browser.fill(browser.get(at), at, password=NEW, again=NEW, **more).location == "/"
    assert (role_of(sign_on, "mia@example.com"), role_of(sign_on, "anna@example.com")) == ("staff", "staff")
    assert "mia@example.com" in browser.get("/").text
    assert Browser(sign_on).sign_in("anna@example.com", NEW).status == 403
    assert Browser(sign_on).sign_in("anna@example.com").status == 303
    told = Browser(sign_on).sign_in("mia@example.com", NEW, role="owner", person_id="per-1", means="pwd otp")
    assert (told.status, role_of(sign_on, "mia@example.com")) == (303, "staff")


def test_a_program_asks_for_more_than_it_may(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    """Elsewhere the roles in a token were those that the request had asked for."""
    code = wiki.code(anna, roles="owner", claims='{"id_token":{"roles":{"value":"owner"}}}', username="bert")
    tokens = wiki.exchange(code, roles="owner", username="bert", sub="per-1", aud="else", audience="else").json
    for token in (tokens["id_token"], tokens["access_token"]):
        assert claims(token)["roles"] == ["staff"]
    assert claims(tokens["access_token"])["aud"] == "urn:appliance:gateway"
    refreshed = wiki.token(
        grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope="openid admin", roles="owner"
    )
    assert refreshed.status == 400 or claims(refreshed.json["access_token"])["roles"] == ["staff"]


# Where pages lead.

ELSEWHERE = [
    EVIL,
    "//evil.example",
    "///evil.example",
    "//evil.example/device",
    "https://evil.example/authorize?client_id=x",
    "/\\evil.example/device",
    "\\\\evil.example",
    "/\\evil.example",
    "/\t/evil.example",
    "/%2fevil.example",
    "/%5cevil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    " https://evil.example",
    "/device\r\nLocation: https://evil.example",
    "/device%0d%0aLocation:%20https://evil.example",
    "/authorize?a=b\\@evil.example",
    "/device@evil.example",
    "/device.evil.example",
    "http://127.0.0.1@evil.example/callback",
    "http://127.0.0.1:9/callback@evil.example",
    "http://127.0.0.1:9/callback/../../x",
    "http://127.0.0.1:9.evil.example/callback",
    "HTTP://127.0.0.1:9/CALLBACK",
    "http://127.0.0.1:9/callback http://evil.example",
    "http://127.0.0.1:9/callback\thttps://evil.example",
    "",
]


def stays(said: Said) -> bool:
    """Whether an answer leaves the browser where it is, or sends it to a page of ours."""
    at = said.headers.get("location")
    return at is None or (at.startswith("/") and at[1:2] not in ("/", "\\") and not urlsplit(at).netloc)


@pytest.mark.parametrize("to", ELSEWHERE)
def test_open_redirect(sign_on: SignOn, wiki: Program, to: str) -> None:
    """Elsewhere an address in the link decided where people were sent after signing in or out, with a code at times."""
    browser = Browser(sign_on)
    page = browser.ask("GET", f"/sign-in?{urlencode({'to': to, 'next': to, 'redirect': to, 'redirect_uri': to})}")
    assert (page.status, page.hidden()["to"] in ("", to)) == (200, True)
    said = browser.fill(page, "/sign-in", email="anna@example.com", password=PASSWORD, to=to, next=to)
    assert said.status == 303
    assert stays(said)
    hint = wiki.tokens(browser)["id_token"]
    for field in ("to", "next", "return_to", "user_code", "redirect_uri", "state"):
        for path in ("/", "/device", "/sign-in", "/sign-out"):
            assert stays(browser.ask("GET", f"{path}?{urlencode({field: to})}")), (path, field)
    said = browser.ask("GET", wiki.request(redirect_uri=to))
    assert (said.status, stays(said)) == (400, True)
    assert stays(browser.ask("GET", wiki.request(redirect_uri=to, prompt="none", client_id="client-none")))
    said = browser.ask("POST", f"/authorize?{urlencode({'redirect_uri': to})}", {"redirect_uri": to, "to": to})
    assert stays(said)
    fields = {"id_token_hint": hint, "post_logout_redirect_uri": to, "redirect_uri": to, "next": to}
    assert stays(browser.ask("GET", f"/sign-out?{urlencode(fields)}"))


def test_a_host_header_that_chooses_the_address(sign_on: SignOn) -> None:
    """Elsewhere links in mails, and addresses in the discovery document, were made of the request's Host header."""
    claimed = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https",
               "Forwarded": "host=evil.example", "X-Forwarded-Prefix": "//evil.example"}  # fmt: skip
    for route in TABLE:
        said = sign_on.ask(
            route.method, route.path.replace("{id}", "x"), {} if route.method == "POST" else None, claimed
        )
        assert "evil" not in said.text, route.path
        assert "evil" not in str(said.headers), route.path


def test_a_path_that_a_browser_takes_for_a_host(sign_on: SignOn) -> None:
    """Elsewhere `//evil.example/%2e%2e` was answered with a redirect to itself, which leads there."""
    for path in ("//evil.example/", "//evil.example/sign-in", "/%5cevil.example", "/sign-in/", "/.//evil.example"):
        said = sign_on.ask("GET", path)
        assert (said.status, "location" in said.headers) == (404, False), path


# Who is signed in where.


def test_session_fixation(sign_on: SignOn) -> None:
    """Elsewhere the cookie from before the sign-in was the session after it: whoever had planted it was in too."""
    planted = "planted-by-somebody"
    victim = Browser(sign_on, {"appliance-session": planted})
    assert victim.sign_in("anna@example.com").location == "/"
    assert victim.cookies["appliance-session"] != planted
    assert Browser(sign_on, {"appliance-session": planted}).ask("GET", "/").location == "/sign-in"
    # Also where it is a session that is good: of the attacker, or of the same person before.
    for planter in ("carl", "anna"):
        attacker = signed_in(sign_on, planter)
        planted = attacker.cookies["appliance-session"]
        victim = Browser(sign_on, {"appliance-session": planted})
        assert victim.sign_in("anna@example.com").location == "/"
        assert attacker.ask("GET", "/").location == "/sign-in"
        assert "anna@example.com" in victim.get("/").text


def test_a_cookie_that_cannot_be_read(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    """Elsewhere a malformed cookie made the check fail, and what failed was taken for a yes."""
    for cookie in (
        "\x80=;;;=,",
        "appliance-session",
        'appliance-session="',
        "a" * 4000,
        "=; appliance-session=x",
        "[]",
    ):
        said = sign_on.ask("GET", "/", headers={"Cookie": cookie})
        assert (said.status, said.headers["location"]) == (303, "/sign-in"), cookie
    mine = anna.cookies["appliance-session"]
    for others in ("a/b=1", "x:y=[1]", 'z="', "\x80=;;=", "path=/"):
        said = sign_on.ask("GET", "/", headers={"Cookie": f"{others}; appliance-session={mine}"})
        assert said.status == 200, others
    # Another of the same name decides nothing more than which of them is looked at.
    for cookie in (f"appliance-session={mine}; appliance-session=x", f"appliance-session=x; appliance-session={mine}"):
        assert sign_on.ask("GET", "/", headers={"Cookie": cookie}).status in (200, 303)


FORMS = [route.path for route in TABLE if route.method == "POST" and route.dialect.name == "openai"]


@pytest.mark.parametrize("path", FORMS)
def test_csrf(sign_on: SignOn, path: str) -> None:
    """Elsewhere a page of somebody else could send the form in the victim's browser: sign out, let a device in."""
    if path == "/authorize":
        # It only goes on to the same address by GET, which changes nothing for whoever did not ask for it.
        assert sign_on.ask("POST", path, {}).status == 303
        return
    sign_on.person("carla") if role_of(sign_on, "carla@example.com") == "" else None
    at = link(sign_on, "carla", links.RESET) if "{id}" in path else path
    victim, stranger = signed_in(sign_on), signed_in(sign_on, "carl")
    tool = Program(sign_on, sign_on.client(f"Tool at {path}", flows=["device"], public=True))
    shown = sign_on.ask("POST", "/device-authorization", {"client_id": tool.about["id"], "scope": "openid"}).json
    form = {"email": "emil@example.com", "password": PASSWORD, "decision": "yes", "code": shown["user_code"]}
    if path == "/device":
        form["decision"] = "allow"
    theirs, good = stranger.get("/device").hidden()["token"], victim.get("/device").hidden()["token"]
    before = dict(victim.cookies)
    for token in (None, "", theirs, "0" * 64, good[:-1], good.upper(), "\u00e9" * 64):
        said = victim.ask("POST", at, form if token is None else form | {"token": token})
        assert (said.status, "Open the page" in said.text or "open for too long" in said.text) == (403, True), token
    for headers in (
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": sign_on.issuer.replace("127.0.0.1", "localhost")},
        {"Content-Type": "text/plain"},
        {"Content-Type": "multipart/form-data; boundary=x"},
    ):
        victim.headers = headers
        assert victim.ask("POST", at, form | {"token": good}).status in (400, 403), headers
    victim.headers = {}
    assert victim.cookies == before
    assert "anna@example.com" in victim.get("/").text
    assert tool.token(grant_type="urn:ietf:params:oauth:grant-type:device_code", device_code=shown["device_code"]).json[
        "error"
    ] in ("authorization_pending", "slow_down")
    assert Browser(sign_on).sign_in("carla@example.com").location == "/"
