"""Incidents of tokens: what says by itself how it is to be checked, and was believed."""

from __future__ import annotations

import base64
import hmac
import http.server
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import RSAKey

from appliance.accounts import people
from appliance.policy.roles import Role
from appliance.store.sessions import session
from tests.support.hands import forged, ring
from tests.support.sign_on import Browser, Program, SignOn, claims


@dataclass
class Thief:
    """Somebody's web page with their own public key, which counts who fetches it."""

    key: RSAKey
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        thief = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                thief.asked.append(self.path)
                body = json.dumps({"keys": [thief.key.as_dict(private=False)]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def thief() -> Iterator[Thief]:
    """Somebody with a key of their own."""
    found = Thief(RSAKey.generate_key(2048, {"kid": "the-thiefs"}))
    yield found
    found.server.shutdown()
    found.server.server_close()


def part(said: Any) -> str:
    """A part of a token."""
    data = said if isinstance(said, bytes) else json.dumps(said).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], said: dict[str, Any], key: Any) -> str:
    """A token with a header that no library would write; `key` is RSA's, some bytes, or None for no signature."""
    text = f"{part(header)}.{part(said)}"
    if isinstance(key, RSAKey):
        assert key.private_key is not None
        return f"{text}.{part(key.private_key.sign(text.encode(), PKCS1v15(), SHA256()))}"
    return f"{text}.{'' if key is None else part(hmac.digest(key, text.encode(), 'sha256'))}"


def forgeries(sign_on: SignOn, good: str, thief: Thief) -> dict[str, str]:
    """Tokens that each have been taken for good somewhere."""
    keys, said = ring(sign_on), claims(good)
    kid, public = keys.kid, keys.active.as_pem(private=False)
    theirs = thief.key.as_dict(private=False)
    head = {"alg": "RS256", "typ": "at+jwt", "kid": kid}
    signature = good.split(".")[2]
    found = {f"alg {alg}": by_hand({**head, "alg": alg}, said, None) for alg in ("none", "None", "NONE", "nOnE", "")}
    found |= {
        f"alg {alg}, a signature": f"{by_hand({**head, 'alg': alg}, said, None)}{signature}" for alg in ("none", "")
    }
    found |= {
        "HS256 with the public key": by_hand({**head, "alg": "HS256"}, said, public),
        "HS256 with the public key, no line end": by_hand({**head, "alg": "HS256"}, said, public.strip()),
        "HS256 with the key document": by_hand({**head, "alg": "HS256"}, said, json.dumps(keys.document()).encode()),
        "HS256 with nothing": by_hand({**head, "alg": "HS256"}, said, b""),
        "no alg": by_hand({"typ": "at+jwt", "kid": kid}, said, keys.active),
        "RS512": by_hand({**head, "alg": "RS512"}, said, keys.active),
        "jku": forged(sign_on, good, {"kid": "the-thiefs", "jku": thief.url}, thief.key),
        "jku, our kid": forged(sign_on, good, {"jku": thief.url}, thief.key),
        "x5u": forged(sign_on, good, {"kid": "the-thiefs", "x5u": thief.url}, thief.key),
        "jwk": forged(sign_on, good, {"kid": "the-thiefs", "jwk": theirs}, thief.key),
        "jwk, our kid": forged(sign_on, good, {"jwk": theirs}, thief.key),
        "an unknown crit": by_hand({**head, "crit": ["mine"], "mine": 1}, said, keys.active),
        "kid is no text": by_hand({**head, "kid": 7}, said, keys.active),
        "kid is a list": by_hand({**head, "kid": [kid]}, said, keys.active),
        "claims are no object": f"{part(head)}.{part([])}.{signature}",
        "no signature at all": ".".join(good.split(".")[:2]) + ".",
        "a part too many": f"{good}.{signature}",
        "a nested token": f"{part({**head, 'cty': 'JWT'})}.{part(good.encode())}.{signature}",
        "blanks in it": good.replace(".", " .", 1),
    }
    for name in ("../../../../../dev/null", "/dev/null", "../appliance.db", "' OR '1'='1", "x' UNION SELECT 'key' --",
                 "|id", "https://evil.example/key", "\x00", "", "the-thiefs"):  # fmt: skip
        found[f"kid {name}"] = forged(sign_on, good, {"kid": name}, thief.key)
        found[f"HS256, kid {name}"] = by_hand({**head, "alg": "HS256", "kid": name}, said, b"")
    return found


def test_alg_none_and_all_its_relatives(sign_on: SignOn, wiki: Program, anna: Browser, thief: Thief) -> None:
    """Elsewhere a token chose how it is checked: by nothing, by the public key as a secret, by a key that it brings."""
    tokens = wiki.tokens(anna)
    good = tokens["access_token"]
    assert sign_on.box.get("/v1/models", forged(sign_on, good))[0] == 200
    for name, token in forgeries(sign_on, good, thief).items():
        status, _, said = sign_on.box.get("/v1/models", token)
        assert (status, said["error"]["code"]) == (401, "key-refused"), name
        assert sign_on.ask("GET", "/userinfo", headers={"Authorization": f"Bearer {token}"}).status == 401, name
        assert not wiki.active(token), name
    # Nobody is signed out by a forged id token either, and no address in a token is opened.
    for name, token in forgeries(sign_on, tokens["id_token"], thief).items():
        anna.ask("GET", f"/sign-out?{urlencode({'id_token_hint': token})}")
        assert anna.ask("GET", "/").status == 200, name
    assert thief.asked == []


def test_a_token_of_another_kind(sign_on: SignOn, wiki: Program, anna: Browser) -> None:
    """Elsewhere an id token, or a notice that somebody signed out, was as good as an access token."""
    tokens = wiki.tokens(anna)
    good = tokens["access_token"]
    bad = {
        "id token": tokens["id_token"],
        "id token, of the right type": forged(sign_on, tokens["id_token"]),
        "notice": forged(sign_on, good, {"typ": "logout+jwt"}),
        "no type": forged(sign_on, good, {"typ": ""}),
        "for a program": forged(sign_on, good, aud=wiki.about["id"]),
        "for several": forged(sign_on, good, aud=["urn:appliance:gateway", "else"]),
        "of nobody known": forged(sign_on, good, family="fam-made-up"),
        "of a family with SQL": forged(sign_on, good, family="x' OR '1'='1"),
        "of no text": forged(sign_on, good, family=["x"]),
        "other issuer": forged(sign_on, good, iss=f"{sign_on.issuer}/"),
        "an end that is text": forged(sign_on, good, exp=str(int(time.time()) + 60)),
        "an end that is no number": forged(sign_on, good, exp=True),
    }
    for name, token in bad.items():
        assert sign_on.box.get("/v1/models", token)[0] == 401, name
        assert sign_on.ask("GET", "/userinfo", headers={"Authorization": f"Bearer {token}"}).status == 401, name
    for header in (f"bearer  {good}", f"Bearer {good} "):
        assert sign_on.box.request("GET", "/v1/models", None, None, {"authorization": header})[0] == 200
    for header in (f"Basic {good}", good, f"Bearer: {good}", f"Token {good}", f"Bearer,{good}"):
        assert sign_on.box.request("GET", "/v1/models", None, None, {"authorization": header})[0] == 401, header
    # Nothing but the header counts: what stands in addresses is kept in histories and logs.
    for name in ("access_token", "token", "key", "api_key", "authorization"):
        assert sign_on.box.get(f"/v1/models?{urlencode({name: good})}")[0] == 401
        assert sign_on.ask("GET", f"/userinfo?{urlencode({name: good})}").status == 401
        assert sign_on.ask("POST", "/userinfo", {name: good}).status == 401


def test_whose_roles_are_those_of_today(sign_on: SignOn, wiki: Program) -> None:
    """Elsewhere a token said for weeks that somebody is an admin who had long not been one."""
    sign_on.person("rolf", Role.ADMIN)
    browser = Browser(sign_on)
    browser.sign_in("rolf@example.com")
    tokens = wiki.tokens(browser)
    assert claims(tokens["access_token"])["roles"] == ["admin"]
    with session(sign_on.box.state / "appliance.db", alone=True) as opened:
        people.set_role(opened, people.find(opened, "rolf"), Role.STAFF)
    after = wiki.refresh(tokens["refresh_token"]).json
    assert claims(after["access_token"])["roles"] == claims(after["id_token"])["roles"] == ["staff"]
    told = sign_on.ask("GET", "/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}).json
    assert told["roles"] == ["staff"]
