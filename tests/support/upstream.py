"""Another provider of sign-on, as a process of its own: `python -m tests.support.upstream PORT`.

It lets everybody in at once, as the account that it is told of, and misbehaves as it is told. What it is to do is one
JSON object, sent to /do; what it was asked comes back from /asked.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.support.box import environment, free_port, wait_until

CLIENT, SECRET = "appliance", "s3cret+of/ours"


class Provider:
    """What it knows, and what it is to do now."""

    def __init__(self, port: int) -> None:
        self.issuer = f"http://127.0.0.1:{port}"
        self.rsa = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.ec = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})
        self.stranger = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.lock = threading.Lock()
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.last_sub: Any = ""
        self.let_go = threading.Event()
        self.todo: dict[str, Any] = {}

    def do(self, todo: dict[str, Any]) -> None:
        """Behave like this from now on; whoever was kept waiting is let go."""
        self.let_go.set()
        self.let_go = threading.Event()
        self.todo, self.asked = todo, []
        if todo.get("rotate"):
            self.rsa = RSAKey.generate_key(2048, {"kid": "three", "use": "sig"})

    def about(self) -> dict[str, Any]:
        """Its discovery document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "authorization_response_iss_parameter_supported": True,
            **self.todo.get("about", {}),
        }

    def id_token(self, nonce: str) -> str:
        """An id token for whoever it is told of."""
        now = int(time.time())
        claims = {
            "iss": self.issuer, "aud": CLIENT, "sub": "sub-1", "iat": now, "exp": now + 300, "nonce": nonce,
            "email": "fed@example.com", "email_verified": True, "name": "Fed Erated",
        }  # fmt: skip
        for name, value in self.todo.get("claims", {}).items():
            if value is None:
                claims.pop(name, None)
            else:
                claims[name] = now + value["now"] if isinstance(value, dict) and "now" in value else value
        self.last_sub = claims.get("sub")
        alg = self.todo.get("alg", "RS256")
        header = {"alg": alg, "kid": self.todo.get("kid", "two" if alg == "ES256" else self.rsa.kid)}
        if alg in ("none", "HS256"):
            return self._by_hand(alg, header, claims)
        key = self.ec if alg == "ES256" else self.stranger if self.todo.get("stranger") else self.rsa
        return jwt.encode(header, claims, key, algorithms=[alg])

    def _by_hand(self, alg: str, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """What no library signs: nothing at all, or our public key, which everybody has, taken for a shared secret."""
        parts = (json.dumps(one).encode() for one in (header, claims))
        text = ".".join(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in parts)
        seal = b"" if alg == "none" else hmac.digest(self.rsa.as_pem(private=False), text.encode(), "sha256")
        return f"{text}.{base64.urlsafe_b64encode(seal).decode().rstrip('=')}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    provider: Provider

    def do_GET(self) -> None:
        """Its pages, and what it is asked about."""
        parts = urlsplit(self.path)
        provider, fields = self.provider, {name: one[0] for name, one in parse_qs(parts.query).items()}
        provider.asked.append(parts.path)
        if parts.path == "/asked":
            self.say(200, {"asked": provider.asked})
        elif self.misbehaves(parts.path):
            return
        elif parts.path == "/.well-known/openid-configuration":
            self.say(200, provider.about())
        elif parts.path == "/jwks":
            self.say(200, {"keys": [one.as_dict(private=False) for one in (provider.rsa, provider.ec)]})
        elif parts.path == "/userinfo" and self.headers["Authorization"] == "Bearer the-access-token":
            self.say(200, provider.todo.get("userinfo", {"sub": provider.last_sub}))
        elif parts.path == "/authorize":
            self.authorize(fields)
        else:
            self.say(404, {})

    def do_POST(self) -> None:
        """Its tokens, and what it is told to do."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/do":
            self.provider.do(json.loads(body))
            self.say(200, {})
        elif not self.misbehaves(self.path):
            self.token({name: one[0] for name, one in parse_qs(body.decode()).items()})

    def authorize(self, fields: dict[str, str]) -> None:
        """Let somebody in, and send them back."""
        assert (fields["tenant"], fields["client_id"], fields["response_type"]) == ("1", CLIENT, "code"), fields
        assert fields["code_challenge_method"] == "S256" and "openid" in fields["scope"].split(), fields
        code = f"code-{len(self.provider.codes)}"
        self.provider.codes[code] = fields
        answer = {"code": code, "state": fields["state"], "iss": self.provider.issuer}
        for name, value in self.provider.todo.get("answer", {}).items():
            if value is None:
                answer.pop(name, None)
            else:
                answer[name] = value
        self.send_response(302)
        self.send_header("Location", f"{fields['redirect_uri']}?{urlencode(answer)}")
        self.end_headers()

    def token(self, fields: dict[str, str]) -> None:
        """Tokens for a code, once, to whoever knows secret and verifier."""
        asked = self.provider.codes.pop(fields.get("code", ""), None)
        pair = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode().partition(":")
        known = {unquote_plus(pair[2]), fields.get("client_secret")}
        digest = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if SECRET not in known:
            self.say(401, {"error": "invalid_client"})
        elif asked is None or challenge != asked["code_challenge"] or fields["redirect_uri"] != asked["redirect_uri"]:
            self.say(400, {"error": "invalid_grant"})
        else:
            self.say(200, {"access_token": "the-access-token", "id_token": self.provider.id_token(asked["nonce"])})

    def misbehaves(self, path: str) -> bool:
        """Whether the request was answered otherwise than it should be."""
        how = self.provider.todo.get("at", {}).get(path)
        if how == "fails":
            self.say(500, {"error": "server_error"})
        elif how == "huge":
            self.say(200, {"padding": "x" * (1 << 21)})
        elif how == "no JSON":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[" * 100_000)
        elif how == "moves":
            self.send_response(302)
            self.send_header("Location", f"{self.provider.issuer}/elsewhere")
            self.end_headers()
        elif how == "drips":
            # A byte now and then, so that no single read takes long.
            self.send_response(200)
            self.end_headers()
            while not self.provider.let_go.wait(0.2):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    break
        return how is not None

    def say(self, status: int, document: Any) -> None:
        """Answer."""
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            return

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@dataclass
class FakeUpstream:
    """It runs, as a test sees it."""

    port: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(cls) -> FakeUpstream:
        """Start it."""
        port = free_port()
        argv = [sys.executable, "-P", "-m", "tests.support.upstream", str(port)]
        found = cls(port, subprocess.Popen(argv, env=environment()))
        wait_until(found.answers, 60, "the other provider")
        return found

    def answers(self) -> bool:
        """Whether it runs."""
        try:
            return bool(self.ask("GET", "/asked")[0] == 200)
        except OSError:
            return False

    @property
    def issuer(self) -> str:
        """Its name."""
        return f"http://127.0.0.1:{self.port}"

    def settings(self, name: str, secret: Path, more: str = "") -> str:
        """Its table of the settings file."""
        return (
            f'[identity.providers.{name}]\nissuer = "{self.issuer}"\nclient_id = "{CLIENT}"\n'
            f'client_secret_file = "{secret}"\ndomains = ["example.com"]\n{more}'
        )

    def do(self, **todo: Any) -> None:
        """Behave like this from now on."""
        assert self.ask("POST", "/do", json.dumps(todo))[0] == 200

    def asked(self) -> list[str]:
        """The addresses that it was asked for since it was told how to behave."""
        return list(json.loads(self.ask("GET", "/asked")[2])["asked"])

    def ask(self, method: str, path: str, body: str | None = None) -> tuple[int, str, str]:
        """Status, where it sends the browser, and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            said = connection.getresponse()
            return said.status, said.headers.get("Location", ""), said.read().decode()
        finally:
            connection.close()

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait(20)


if __name__ == "__main__":
    Handler.provider = Provider(int(sys.argv[1]))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
