"""What sign-on refuses, and what a gateway does not take for one of its tokens."""

from __future__ import annotations

import base64
import hmac
import json
import sqlite3
import time
from contextlib import closing
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from appliance.accounts.resolve import Credentials
from appliance.config.paths import find_home
from appliance.errors import ApplianceError
from appliance.identity.keys import KeyRing, read
from tests.support.box import wait_until
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, Program, Said, SignOn, back, claims


def gateway_says(sign_on: SignOn, token: str) -> str:
    """The code with which the gateway refuses a token; empty when it takes it."""
    status, _, said = sign_on.box.get("/v1/models", token)
    return "" if status == 200 else str(said["error"]["code"])


def ring(sign_on: SignOn) -> KeyRing:
    """The keys that sign-on signs with."""
    return KeyRing(read(find_home(sign_on.box.config, sign_on.box.state)))


def change(sign_on: SignOn, sql: str, *values: Any) -> None:
    """Write the database, as only time would."""
    with closing(sqlite3.connect(sign_on.box.state / "appliance.db", timeout=10)) as connection, connection:
        connection.execute(sql, values)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9/callback/", "http://127.0.0.1:9/callback?x=1", "http://evil.example/callback", "", None],
)
def test_nobody_is_sent_to_an_address_that_is_not_the_programs(
    wiki: Program, anna: Browser, address: str | None
) -> None:
    said = anna.ask("GET", wiki.request(redirect_uri=address))
    assert (said.status, "location" in said.headers) == (400, False)
    assert "evil" not in said.text


def test_a_program_that_is_unknown_or_asks_twice_is_told_to_the_person(wiki: Program, anna: Browser) -> None:
    assert anna.ask("GET", wiki.request(client_id="client-none")).status == 400
    assert anna.ask("GET", wiki.request() + "&scope=openid").status == 400
    assert anna.ask("GET", wiki.request() + "&redirect_uri=http://evil.example/").status == 400


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": 'co"de\u00e9'}, "unsupported_response_type"),
        ({"scope": "openid everything"}, "invalid_scope"),
    ],
)
def test_what_a_program_asks_wrongly_is_told_to_it(
    sign_on: SignOn, wiki: Program, anna: Browser, changed: dict[str, str | None], error: str
) -> None:
    said = back(anna.ask("GET", wiki.request(**changed)))
    assert (said["error"], said["state"], said["iss"]) == (error, "the-state", sign_on.issuer)


def test_a_code_needs_the_secret_that_it_was_asked_for_with(wiki: Program, anna: Browser) -> None:
    assert wiki.exchange(wiki.code(anna), code_verifier="").json["error"] == "invalid_request"
    assert wiki.exchange(wiki.code(anna), code_verifier="a" * 43).json["error"] == "invalid_grant"
    assert wiki.exchange(wiki.code(anna), redirect_uri="http://127.0.0.1:9/other").json["error"] == "invalid_grant"
    assert wiki.exchange(wiki.code(anna), client_secret="aps-made-up").json["error"] == "invalid_client"


def test_a_code_that_comes_twice_ends_all_that_it_gave(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    code = wiki.code(anna)
    tokens = wiki.exchange(code).json
    assert gateway_says(sign_on, tokens["access_token"]) == ""
    assert wiki.exchange(code).json["error"] == "invalid_grant"
    assert gateway_says(sign_on, tokens["access_token"]) == "key-refused"
    assert wiki.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_a_code_is_good_for_a_minute_and_for_its_own_program(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    code = wiki.code(anna)
    other = Program(sign_on, sign_on.client("Other", redirects=[wiki.redirect]))
    other.verifier = wiki.verifier
    assert other.exchange(code).json["error"] == "invalid_grant"
    change(sign_on, "UPDATE authorization_code SET expires_at = 1")
    assert wiki.exchange(code).json["error"] == "invalid_grant"


def test_a_stolen_refresh_token_ends_the_thiefs_tokens_and_the_owners(
    sign_on: SignOn, wiki: Program, anna: Browser
) -> None:
    first = wiki.tokens(anna)
    thiefs = wiki.refresh(first["refresh_token"]).json
    assert wiki.refresh(first["refresh_token"]).json["error"] == "invalid_grant"
    assert wiki.refresh(thiefs["refresh_token"]).json["error"] == "invalid_grant"
    assert gateway_says(sign_on, thiefs["access_token"]) == "key-refused"
    assert anna.get("/").status == 200


def test_a_refresh_token_is_good_for_its_own_program(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    token = wiki.tokens(anna)["refresh_token"]
    other = Program(sign_on, sign_on.client("Thief", redirects=[wiki.redirect]))
    assert other.refresh(token).json["error"] == "invalid_grant"
    sent = {"token": token, "client_id": other.about["id"], "client_secret": other.about["secret"]}
    assert sign_on.ask("POST", "/introspect", sent).json == {"active": False}


def test_a_program_gets_tokens_only_as_it_was_registered_to(sign_on: SignOn, wiki: Program) -> None:
    assert wiki.token(grant_type="client_credentials").json["error"] == "unauthorized_client"
    assert wiki.token(grant_type="password", username="anna", password="x").json["error"] == "unsupported_grant_type"
    assert wiki.token(grant_type='"\u00e9').json["error"] == "unsupported_grant_type"
    sent = {"client_id": wiki.about["id"], "client_secret": wiki.about["secret"]}
    assert sign_on.ask("POST", "/device-authorization", sent).json["error"] == "unauthorized_client"
    assert sign_on.ask("POST", "/token", {}).json["error"] == "unsupported_grant_type"
    twice = sign_on.ask("POST", "/token?grant_type=refresh_token&grant_type=authorization_code", {})
    assert twice.json["error"] == "invalid_request"


def forged(sign_on: SignOn, good: str, header: dict[str, Any], key: Any = None, **changed: Any) -> str:
    """A token like a good one, but for its header, some claims, or the key that it is signed with."""
    keys = ring(sign_on)
    head = {"alg": "RS256", "typ": "at+jwt", "kid": keys.kid, **header}
    said = claims(good) | changed
    return jwt.encode(head, said, key or keys.active, algorithms=[head["alg"]])


def test_the_gateway_takes_no_token_that_is_not_its_own(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    tokens = wiki.tokens(anna)
    good, keys = tokens["access_token"], ring(sign_on)
    stranger = RSAKey.generate_key(2048, {"kid": keys.kid})
    bad = {
        "other issuer": forged(sign_on, good, {}, iss="https://elsewhere.example"),
        "other audience": forged(sign_on, good, {}, aud="urn:appliance:other"),
        "an id token": tokens["id_token"],
        "the type of one": forged(sign_on, good, {"typ": "JWT"}),
        "other key": forged(sign_on, good, {}, stranger),
        "unknown key": forged(sign_on, good, {"kid": "none"}, stranger),
        "public key as a secret": with_public_key(keys, good),
        "unknown family": forged(sign_on, good, {}, family="fam-none"),
        "no end": forged(sign_on, good, {}, exp=None),
        "no family": forged(sign_on, good, {}, family=None),
        "changed": good[:-8] + ("AAAAAAAA" if not good.endswith("AAAAAAAA") else "BBBBBBBB"),
        "unsigned": unsigned(good),
        "what no reader understands": unsigned(good, alg="RS256", crit=5),
    }
    assert gateway_says(sign_on, forged(sign_on, good, {})) == ""
    assert {name: gateway_says(sign_on, token) for name, token in bad.items()} == dict.fromkeys(bad, "key-refused")
    assert gateway_says(sign_on, forged(sign_on, good, {}, exp=int(time.time()) - 1)) == "key-expired"
    odd = bad["what no reader understands"]
    assert sign_on.ask("GET", "/userinfo", headers={"Authorization": f"Bearer {odd}"}).status == 401


def unsigned(token: str, **header_too: Any) -> str:
    """The same token, said to need no signature, or what else its header is to say."""
    header = encoded(json.dumps({"alg": "none", "typ": "at+jwt", **header_too}).encode())
    return f"{header}.{token.split('.')[1]}.AAAA"


def with_public_key(keys: KeyRing, token: str) -> str:
    """The same token, signed with what everybody knows."""
    header = encoded(json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": keys.kid}).encode())
    signed = f"{header}.{token.split('.')[1]}"
    return f"{signed}.{encoded(hmac.digest(keys.active.as_pem(private=False), signed.encode(), 'sha256'))}"


def encoded(data: bytes) -> str:
    """As it stands in a token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_a_gateway_without_sign_on_takes_no_token(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    database = sign_on.box.state / "appliance.db"
    with_it, without = (
        Credentials(database, issuer, sign_on.box.state / "public-keys.json") for issuer in (sign_on.issuer, "")
    )
    token = f"Bearer {wiki.tokens(anna)['access_token']}"
    assert with_it.resolve(token, None).name == "anna"
    with pytest.raises(ApplianceError) as refused:
        without.resolve(token, None)
    assert refused.value.code == "key-refused"
    with_it.close()
    without.close()


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/authorizex?a=b",
        "/device/../x",
        "javascript:alert(1)",
        "/authorize?\nx",
        "/authorize?client_id=x" + "y" * 5000,
    ],
)
def test_signing_in_leads_nowhere_else(sign_on: SignOn, to: str) -> None:
    browser = Browser(sign_on)
    said = browser.fill(browser.get("/sign-in"), "/sign-in", to=to, email="anna@example.com", password=PASSWORD)
    assert said.location == "/"


def test_a_form_counts_only_from_a_page_of_ours(sign_on: SignOn, anna: Browser) -> None:
    form = {"email": "anna@example.com", "password": PASSWORD}
    assert sign_on.ask("POST", "/sign-in", form).status == 403
    page = anna.get("/sign-in")
    assert anna.ask("POST", "/sign-in", form | {"token": "0" * 64}).status == 403
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        anna.headers = headers
        said = anna.fill(page, "/sign-in", **form)
        assert (said.status, "too old" in said.text or "open for too long" in said.text) == (403, True)
    anna.headers = {"Origin": sign_on.issuer, "Sec-Fetch-Site": "same-origin"}
    assert anna.fill(page, "/sign-in", **form).status == 303
    assert sign_on.ask("POST", "/sign-in", headers={"Content-Type": "text/json"}).status == 403


def alike(said: Said) -> tuple[int, str]:
    """A page without what differs each time."""
    text = said.text
    for value in said.hidden().values():
        text = text.replace(value, "") if value else text
    return said.status, text


def test_whoever_asks_cannot_learn_who_has_an_account(sign_on: SignOn) -> None:
    known = alike(Browser(sign_on).sign_in("anna@example.com", "not her password"))
    unknown = alike(Browser(sign_on).sign_in("anna@example.net", "not her password"))
    assert known[0] == unknown[0] == 403
    assert known[1].replace("example.com", "example.net") == unknown[1]


def test_guessing_is_slowed_down_and_locks_nobody_out_of_their_own_browser(sign_on: SignOn) -> None:
    own, stranger = Browser(sign_on), Browser(sign_on)
    assert own.sign_in("dora@example.com").status == 303
    said = [stranger.sign_in("dora@example.com", "a guess of mine") for _ in range(6)]
    assert [one.status for one in said] == [403] * 5 + [429]
    assert "15 minutes" in said[-1].text
    assert stranger.sign_in("dora@example.com").status == 429
    assert stranger.sign_in("bert@example.com").status == 303
    assert own.sign_in("dora@example.com").status == 303


def test_whoever_is_suspended_loses_everything_within_two_seconds(sign_on: SignOn, wiki: Program) -> None:
    bert = Browser(sign_on)
    bert.sign_in("bert@example.com")
    tokens = wiki.tokens(bert)
    assert gateway_says(sign_on, tokens["access_token"]) == ""
    sign_on.box.run("keys", "suspend", "--owner", "bert", "--yes")
    assert gateway_says(sign_on, tokens["access_token"]) in ("suspended", "key-refused")
    assert bert.ask("GET", "/").location == "/sign-in"
    assert wiki.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
    page = bert.sign_in("bert@example.com")
    assert (page.status, "switched off" in page.text) == (403, True)
    wait_until(lambda: not sign_on.alive("bert@example.com"), 2.0, "the end of his sign-on")
    sign_on.box.run("keys", "resume", "--owner", "bert")
    assert gateway_says(sign_on, tokens["access_token"]) == "key-refused"
    assert bert.ask("GET", "/").location == "/sign-in"
    assert bert.sign_in("bert@example.com").status == 303
