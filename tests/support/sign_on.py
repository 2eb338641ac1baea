"""A sign-on of a test's own: its process, people, a browser without JavaScript, and programs that people sign in to."""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import json
import re
import secrets
import signal
import subprocess
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from sqlmodel import select

from appliance.accounts import clients, groups
from appliance.accounts.people_tables import Group
from appliance.config.paths import find_home
from appliance.policy.roles import Role
from appliance.store.schema import connect
from appliance.store.sessions import session
from tests.support.box import Box, environment, free_port, wait_until
from tests.support.people import PASSWORD, somebody


@dataclass
class Said:
    """An answer: `headers` by lower-case names, the last of each; `cookies` as they were set."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str]

    @property
    def text(self) -> str:
        """The page."""
        return self.body.decode()

    @property
    def json(self) -> Any:
        """The document."""
        return json.loads(self.body)

    @property
    def location(self) -> str:
        """Where it sends the browser."""
        return self.headers["location"]

    def hidden(self) -> dict[str, str]:
        """The fields of the page's form that are filled in already."""
        inputs = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', self.text)
        return {name: html.unescape(value) for name, value in inputs}


@dataclass
class SignOn:
    """The sign-on of a box; `url` is what it is called by a proxy in front of it, where there is one."""

    box: Box
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    @property
    def issuer(self) -> str:
        """Its address."""
        return self.url or f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> str:
        """Its part of the settings file."""
        url = f'url = "{self.url}"\n' if self.url else ""
        return f"[identity]\nenabled = true\nport = {self.port}\n{url}"

    def start(self, wait: bool = True) -> None:
        """Run it."""
        with (self.box.folder / "identity.log").open("ab") as log:
            self.process = subprocess.Popen(self.box.argv("identity"), stdout=log, stderr=log, env=environment())
        if wait:
            wait_until(self.answers, 60, "sign-on's health")

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(20) in (0, -signal.SIGTERM)
        self.process = None

    def answers(self) -> bool:
        """Whether it runs."""
        try:
            return self.ask("GET", "/health").status == 200
        except OSError:
            return False

    def ask(
        self, method: str, path: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Said:
        """One request as it stands: nothing is followed, nothing is kept."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = None if form is None else urlencode(form)
        kind = {} if form is None else {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            connection.request(method, path, body, {**kind, **(headers or {})})
            response = connection.getresponse()
            found = response.getheaders()
            return Said(
                response.status,
                {name.lower(): value for name, value in found},
                response.read(),
                [value for name, value in found if name.lower() == "set-cookie"],
            )
        finally:
            connection.close()

    def person(self, login: str, role: Role = Role.STAFF, *into: str, **more: Any) -> str:
        """The id of somebody with an account, in some groups."""
        find_home(self.box.config, self.box.state).prepare()
        with session(self.box.state / "appliance.db", alone=True) as opened:
            known: set[str] = set(opened.exec(select(Group.name)))
            for group in into:
                if group not in known:
                    groups.add(opened, group)
            return somebody(opened, login, role, into=into, **more).id

    def client(self, name: str, **terms: Any) -> dict[str, Any]:
        """A registered program; `terms` are those of `clients.add`."""
        with session(self.box.state / "appliance.db", alone=True) as opened:
            row, secret = clients.add(opened, name, **terms)
            return {"id": row.id, "secret": secret}

    def alive(self, email: str) -> int:
        """How many sign-ons and tokens somebody has that have not ended."""
        whose = "person_id = (SELECT id FROM person WHERE email = ?) AND ended_at IS NULL"
        sql = f"SELECT (SELECT count(*) FROM sign_on WHERE {whose}) + (SELECT count(*) FROM token_family WHERE {whose})"
        with closing(connect(self.box.state / "appliance.db")) as connection:
            return int(connection.execute(sql, (email, email)).fetchone()[0])

    def events(self, action: str) -> list[dict[str, Any]]:
        """What is on the audit log of one action."""
        return [one for one in self.box.document("audit", "tail", "-n", "1000") if one["action"] == action]


@dataclass
class Browser:
    """Somebody's browser: it keeps cookies and shows forms. `address` is where it seems to come from, by a proxy."""

    sign_on: SignOn
    cookies: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> Said:
        """One request with the cookies that it keeps."""
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {**({"Cookie": cookie} if cookie else {}), **self.headers}
        said = self.sign_on.ask(method, path, form, sent)
        for one in said.cookies:
            name, _, value = one.partition(";")[0].partition("=")
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return said

    def get(self, path: str) -> Said:
        """Open a page, following what sends it to another page of sign-on."""
        said = self.ask("GET", path)
        while said.status == 303 and said.location.startswith("/"):
            said = self.ask("GET", said.location)
        return said

    def fill(self, page: Said, path: str, **fields: str) -> Said:
        """Send the form of a page."""
        return self.ask("POST", path, page.hidden() | fields)

    def sign_in(self, email: str, password: str = PASSWORD, at: str = "/sign-in", **more: str) -> Said:
        """Fill in the form that opens at an address."""
        return self.fill(self.get(at), "/sign-in", email=email, password=password, **more)


@dataclass
class Program:
    """A program that people sign in to, which does everything right unless it is told otherwise."""

    sign_on: SignOn
    about: dict[str, Any]
    redirect: str = "http://127.0.0.1:9/callback"

    def __post_init__(self) -> None:
        self.verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(self.verifier.encode()).digest()
        self.challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def request(self, **changed: str | None) -> str:
        """The path of an authorization request; a field that is changed to None is left out."""
        fields = {
            "response_type": "code",
            "client_id": self.about["id"],
            "redirect_uri": self.redirect,
            "scope": "openid profile email",
            "state": "the-state",
            "nonce": "the-nonce",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            **changed,
        }
        return f"/authorize?{urlencode({name: value for name, value in fields.items() if value is not None})}"

    def code(self, browser: Browser, **changed: str | None) -> str:
        """A code for whoever is signed in with a browser."""
        return str(back(browser.ask("GET", self.request(**changed)))["code"])

    def token(self, **fields: str) -> Said:
        """Ask for tokens."""
        sent = {"client_id": self.about["id"], **fields}
        if self.about["secret"]:
            sent.setdefault("client_secret", self.about["secret"])
        return self.sign_on.ask("POST", "/token", sent)

    def exchange(self, code: str, **changed: str) -> Said:
        """Tokens for a code."""
        fields = {"code": code, "redirect_uri": self.redirect, "code_verifier": self.verifier, **changed}
        return self.token(grant_type="authorization_code", **fields)

    def refresh(self, token: str) -> Said:
        """New tokens for a refresh token."""
        return self.token(grant_type="refresh_token", refresh_token=token)

    def tokens(self, browser: Browser) -> dict[str, Any]:
        """Tokens of whoever is signed in with a browser."""
        return dict(self.exchange(self.code(browser)).json)

    def active(self, token: str) -> bool:
        """Whether sign-on says that a token is good."""
        sent = {"token": token, "client_id": self.about["id"], "client_secret": self.about["secret"]}
        return bool(self.sign_on.ask("POST", "/introspect", sent).json["active"])


def back(said: Said) -> dict[str, str]:
    """What a program is told in the address that the browser is sent back to."""
    assert said.status == 302, said.text
    return dict(parse_qsl(urlsplit(said.location).query))


def query(address: str) -> dict[str, list[str]]:
    """The fields of an address."""
    return parse_qs(urlsplit(address).query)


def claims(token: str) -> dict[str, Any]:
    """What a token says, unchecked."""
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))
