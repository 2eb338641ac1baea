"""Signing in to a program with a browser, and what its tokens are good for."""

from __future__ import annotations

import time

from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, Program, SignOn, back, claims


def test_whoever_is_not_signed_in_signs_in_and_goes_on_to_the_program(sign_on: SignOn, wiki: Program) -> None:
    browser = Browser(sign_on)
    page = browser.get(wiki.request())
    assert "to continue to Wiki" in page.text
    said = browser.fill(page, "/sign-in", email=" Anna@Example.com", password=PASSWORD)
    found = back(browser.ask("GET", said.location))
    assert found["state"] == "the-state"
    assert found["iss"] == sign_on.issuer
    tokens = wiki.exchange(found["code"]).json
    told = claims(tokens["id_token"])
    assert (told["iss"], told["aud"], told["nonce"]) == (sign_on.issuer, wiki.about["id"], "the-nonce")
    assert (told["name"], told["email"], told["preferred_username"]) == ("Anna Schmidt", "anna@example.com", "anna")
    assert (told["roles"], told["groups"]) == (["staff"], ["everyone", "sales"])
    assert told["amr"] == ["pwd"]
    assert time.time() - told["auth_time"] < 60


def test_an_access_token_is_good_for_the_gateway(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    token = wiki.tokens(anna)["access_token"]
    told = claims(token)
    assert (told["aud"], told["client_id"], told["groups"]) == (
        "urn:appliance:gateway", wiki.about["id"], ["everyone", "sales"],
    )  # fmt: skip
    assert told["exp"] - told["iat"] == 1800
    assert sign_on.box.get("/v1/models", token)[0] == 200
    assert sign_on.box.post({"model": "chat", "messages": [{"role": "user", "content": "tokens=3"}]}, token)[0] == 200
    row = sign_on.box.rows(1)[0]
    assert (row["principal"], row["team"], row["priority"]) == ("anna", "sales", "chat")
    assert row["key_id"] == told["family"]


def test_a_program_learns_what_there_is_and_where(sign_on: SignOn) -> None:
    found = sign_on.ask("GET", "/.well-known/openid-configuration").json
    assert found["issuer"] == sign_on.issuer
    assert found["code_challenge_methods_supported"] == ["S256"]
    for name in ("jwks_uri", "authorization_endpoint", "end_session_endpoint"):
        assert sign_on.ask("GET", found[name].removeprefix(sign_on.issuer)).status in (200, 400)
    keys = sign_on.ask("GET", "/jwks").json["keys"]
    assert len(keys) == 2
    assert all({"kid", "n", "e"} <= set(key) and not {"d", "p", "q"} & set(key) for key in keys)


def test_the_person_of_an_access_token_is_told_to_whoever_holds_it(
    sign_on: SignOn, wiki: Program, anna: Browser
) -> None:
    token = wiki.tokens(anna)["access_token"]
    found = sign_on.ask("GET", "/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert found.json["sub"] == claims(token)["sub"]
    assert found.json["groups"] == ["everyone", "sales"]
    assert sign_on.ask("GET", "/userinfo", headers={"Authorization": "Bearer made-up"}).status == 401
    assert sign_on.ask("GET", "/userinfo").status == 401


def test_a_refresh_token_gets_new_tokens_once(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    first = wiki.tokens(anna)
    second = wiki.refresh(first["refresh_token"]).json
    assert second["refresh_token"] != first["refresh_token"]
    assert claims(second["id_token"])["sub"] == claims(first["id_token"])["sub"]
    assert claims(second["id_token"])["auth_time"] == claims(first["id_token"])["auth_time"]
    assert sign_on.box.get("/v1/models", second["access_token"])[0] == 200
    assert wiki.refresh(second["refresh_token"]).status == 200


def test_a_token_is_given_back_with_all_that_came_of_the_sign_in(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    tokens = wiki.tokens(anna)
    assert wiki.active(tokens["access_token"])
    sent = {"token": tokens["refresh_token"], "client_id": wiki.about["id"], "client_secret": wiki.about["secret"]}
    assert sign_on.ask("POST", "/revoke", sent).status == 200
    assert not wiki.active(tokens["access_token"])
    assert sign_on.box.get("/v1/models", tokens["access_token"])[2]["error"]["code"] == "key-refused"
    assert wiki.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"


def test_a_program_asks_as_itself(sign_on: SignOn) -> None:
    robot = Program(sign_on, sign_on.client("Robot", flows=["service"]))
    said = robot.token(grant_type="client_credentials").json
    assert "refresh_token" not in said
    assert claims(said["access_token"])["roles"] == ["service"]
    assert (
        sign_on.box.post({"model": "chat", "messages": [{"role": "user", "content": "x"}]}, said["access_token"])[0]
        == 200
    )
    assert sign_on.box.rows(1)[0]["principal"] == "program:Robot"
    assert sign_on.ask("GET", "/userinfo", headers={"Authorization": f"Bearer {said['access_token']}"}).status == 401
    assert robot.active(said["access_token"])


def test_whoever_must_sign_in_again_does_so_and_stays_who_they_are(
    sign_on: SignOn, wiki: Program, anna: Browser
) -> None:
    before = claims(wiki.tokens(anna)["id_token"])
    page = anna.get(wiki.request(prompt="login", login_hint="anna@example.com"))
    assert 'value="anna@example.com"' in page.text
    said = anna.fill(page, "/sign-in", email="anna@example.com", password=PASSWORD)
    after = claims(wiki.exchange(back(anna.ask("GET", said.location))["code"]).json["id_token"])
    assert after["sid"] == before["sid"]
    assert anna.ask("GET", wiki.request(max_age="0")).location.startswith("/sign-in?")
    assert anna.ask("GET", wiki.request(max_age="3600")).status == 302


def test_a_program_may_ask_without_showing_a_page(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    assert "code" in back(anna.ask("GET", wiki.request(prompt="none")))
    said = back(Browser(sign_on).ask("GET", wiki.request(prompt="none")))
    assert (said["error"], said["state"], said["iss"]) == ("login_required", "the-state", sign_on.issuer)


def test_a_key_change_is_noticed_by_nobody(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    old = wiki.tokens(anna)["access_token"]
    changed = sign_on.box.document("clients", "rotate-keys")
    new = wiki.tokens(anna)["access_token"]
    assert sign_on.box.get("/v1/models", old)[0] == sign_on.box.get("/v1/models", new)[0] == 200
    assert changed["before"] != changed["now"]
    assert {key["kid"] for key in sign_on.ask("GET", "/jwks").json["keys"]} == set(changed["published"])
    assert len(changed["published"]) == 3


def test_both_keep_what_they_know_through_a_restart(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    tokens = wiki.tokens(anna)
    sign_on.stop()
    assert sign_on.box.get("/v1/models", tokens["access_token"])[0] == 200
    sign_on.start()
    assert wiki.refresh(tokens["refresh_token"]).status == 200
    assert "Anna Schmidt" in anna.get("/").text
