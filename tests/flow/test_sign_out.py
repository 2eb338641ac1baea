"""Signing out, and how programs learn of it."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.box import wait_until
from tests.support.sign_on import Browser, Program, SignOn, claims


@dataclass
class Listener:
    """A program's address that is told of sign-outs; it fails as often as it is told to."""

    fails: int = 0
    told: list[str] = field(default_factory=list)
    asked: int = 0

    def __post_init__(self) -> None:
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.asked += 1
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                good = listener.asked > listener.fails
                if good:
                    listener.told.append(parse_qs(body)["logout_token"][0])
                self.send_response(200 if good else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/backchannel"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Hang up."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """An address that listens."""
    found = Listener()
    yield found
    found.close()


@pytest.fixture
def chat(sign_on: SignOn, listener: Listener, request: pytest.FixtureRequest) -> Program:
    """A program that wants to be told."""
    redirect = "http://127.0.0.1:9/callback"
    about = sign_on.client(
        request.node.name,
        redirects=[redirect],
        logout_redirects=["http://127.0.0.1:9/bye"],
        backchannel=listener.url,
    )
    return Program(sign_on, about, redirect)


def sign_out(browser: Browser, **fields: str) -> str:
    """Where a browser is sent by a program's request to sign out; empty where a page of ours ends it."""
    said = browser.ask("GET", f"/sign-out?{urlencode(fields)}")
    return said.headers.get("location", "")


def test_signing_out_ends_all_that_came_of_it_and_tells_the_programs(
    sign_on: SignOn, chat: Program, anna: Browser, listener: Listener
) -> None:
    tokens = chat.tokens(anna)
    told = claims(tokens["id_token"])
    page = anna.fill(anna.get("/"), "/sign-out", decision="yes")
    assert "signed out" in page.text
    assert anna.ask("GET", "/").location == "/sign-in"
    assert sign_on.box.get("/v1/models", tokens["access_token"])[2]["error"]["code"] == "key-refused"
    wait_until(lambda: listener.told, 2.0, "the notice")
    keys = KeySet.import_key_set(sign_on.ask("GET", "/jwks").json)
    notice = jwt.decode(listener.told[0], keys, algorithms=["RS256"])
    assert (notice.header["typ"], bool(notice.header["kid"])) == ("logout+jwt", True)
    said = notice.claims
    assert (said["iss"], said["aud"], said["sub"], said["sid"]) == (
        sign_on.issuer, chat.about["id"], told["sub"], told["sid"],
    )  # fmt: skip
    assert said["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert "nonce" not in said


def test_a_program_signs_somebody_out_with_its_id_token(
    sign_on: SignOn, chat: Program, anna: Browser, listener: Listener
) -> None:
    hint = chat.tokens(anna)["id_token"]
    bye = "http://127.0.0.1:9/bye"
    at = sign_out(anna, id_token_hint=hint, post_logout_redirect_uri=bye, state="s")
    assert at == f"{bye}?state=s"
    assert anna.ask("GET", "/").location == "/sign-in"
    wait_until(lambda: listener.told, 2.0, "the notice")


def test_signing_out_leads_nowhere_that_is_not_registered(sign_on: SignOn, chat: Program, anna: Browser) -> None:
    for redirect in ("http://evil.example/", "//evil.example", "http://127.0.0.1:9/callback"):
        browser = Browser(sign_on)
        browser.sign_in("anna@example.com")
        hint = chat.tokens(browser)["id_token"]
        assert sign_out(browser, id_token_hint=hint, post_logout_redirect_uri=redirect) == ""
    asked = {"client_id": chat.about["id"], "post_logout_redirect_uri": "http://127.0.0.1:9/bye"}
    assert sign_out(anna, **asked) == ""
    assert anna.ask("GET", "/").status == 200


def test_nobody_is_signed_out_without_a_yes_by_a_page_of_somebody_else(sign_on: SignOn, anna: Browser) -> None:
    page = anna.ask("GET", "/sign-out")
    assert "Sign out?" in page.text
    assert anna.ask("POST", "/sign-out", {"decision": "yes"}).status == 403
    assert anna.ask("GET", f"/sign-out?{urlencode({'id_token_hint': 'made.up.token'})}").status == 400
    assert anna.ask("GET", "/").status == 200


def test_a_program_that_does_not_listen_is_told_again(
    sign_on: SignOn, chat: Program, anna: Browser, listener: Listener
) -> None:
    listener.fails = 1
    chat.tokens(anna)
    anna.fill(anna.get("/"), "/sign-out", decision="yes")
    wait_until(lambda: listener.told, 10.0, "the second try")
    assert listener.asked == 2


def test_whoever_is_suspended_is_signed_out_of_programs_within_two_seconds(
    sign_on: SignOn, chat: Program, listener: Listener
) -> None:
    carl = Browser(sign_on)
    carl.sign_in("carl@example.com")
    sub = claims(chat.tokens(carl)["id_token"])["sub"]
    sign_on.box.run("keys", "suspend", "--owner", "carl", "--yes")
    wait_until(lambda: listener.told, 2.0, "the notice")
    assert claims(listener.told[0])["sub"] == sub
    sign_on.box.run("keys", "resume", "--owner", "carl")
