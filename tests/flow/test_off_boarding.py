"""Whoever is switched off loses what is under way too: at the engine, on record, and told so."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from appliance.accounts import chat_secrets, keys
from appliance.accounts.tables import ApiKey
from appliance.config.paths import find_home
from appliance.store.sessions import session
from appliance.units import now_us
from tests.flow.test_sign_on_devices import begin, look
from tests.support.box import Box, ask, wait_until
from tests.support.engines import FakeEngine
from tests.support.sign_on import Browser, Program, SignOn
from tests.support.vouching import registered, voucher

REDIRECT = "http://127.0.0.1:9/callback"
WITHIN_S = 2.0
SLOW = "tokens=900 delay=30"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[SignOn]:
    """Sign-on and a gateway, with a slow engine."""
    found = SignOn(Box(tmp_path_factory.mktemp("office")))
    engines = (("chat", "fake"), ("embed", "vectors"))
    tables = (
        "".join(f'[engines.{role}]\nurl = "{fake_engine.url}"\nmodel = "{model}"\n' for role, model in engines)
        + f'[engines.small]\nurl = "{fake_engine.url}"\nmodel = "little"\nslots = 1\n'
    )
    found.box.configure(f"{found.settings}{tables}")
    found.person("beside")
    try:
        found.start()
        found.box.serve()
        yield found
    finally:
        found.stop()
        found.box.stop()


class Stream:
    """An answer on its way, read as it comes."""

    def __init__(
        self, box: Box, key: str, body: dict[str, Any], path: str = "/v1/chat/completions", **headers: str
    ) -> None:
        data = json.dumps(body).encode()
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self._socket = socket.create_connection(("127.0.0.1", box.port), timeout=60)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {key}\r\n{lines}"
        self._socket.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        self.said = b""
        self.ended_at = 0.0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self._socket, suppress(OSError):
            while data := self._socket.recv(65536):
                self.said += data
        self.ended_at = time.monotonic()

    @property
    def words(self) -> int:
        """How many tokens have come."""
        return self.said.count(b'"word ')

    @property
    def code(self) -> str:
        """The code of the error that ended it."""
        error = self.said[self.said.rfind(b'{"error":') :].partition(b"\n")[0].partition(b"\r")[0]
        return str(json.loads(error)["error"]["code"])

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(10)


@pytest.fixture(scope="module")
def beside(office: SignOn) -> Iterator[Stream]:
    """Somebody else, whose answer comes all the while."""
    found = Stream(office.box, office.box.key("beside"), slow("tokens=9000 delay=30"))
    wait_until(lambda: found.words > 2, what="an answer beside")
    yield found
    found.close()


def slow(orders: str = SLOW, **more: Any) -> dict[str, Any]:
    """A request whose answer takes its time."""
    return ask(orders, stream=True, **more)


@dataclass
class Somebody:
    """A person with a credential. `off` takes it away."""

    login: str
    key: str
    off: Callable[[], object]


def with_key(office: SignOn, login: str, *off: str) -> Somebody:
    """Somebody with an API key; `off` is the command, in which `ID` stands for the key's and `LOGIN` for theirs."""
    office.person(login)
    with session(office.box.state / "appliance.db") as opened:
        key, secret = keys.create(opened, login, team=f"team-{login}")
        words = [word.replace("ID", key.id).replace("LOGIN", login) for word in off]
    return Somebody(login, secret, lambda: office.box.run(*words))


def signed_in(office: SignOn, login: str) -> tuple[Browser, Program, dict[str, Any]]:
    """Somebody who has signed in to a program of their own, with its tokens."""
    office.person(login)
    browser = Browser(office)
    assert browser.sign_in(f"{login}@example.com").location == "/"
    program = Program(office, office.client(f"For {login}", redirects=[REDIRECT]))
    return browser, program, program.tokens(browser)


def disabled(office: SignOn) -> Somebody:
    _, _, tokens = signed_in(office, "dis")
    return Somebody("dis", tokens["access_token"], lambda: office.box.run("users", "disable", "dis"))


def signed_out(office: SignOn) -> Somebody:
    browser, _, tokens = signed_in(office, "out")
    page = browser.get("/")
    return Somebody("out", tokens["access_token"], lambda: browser.fill(page, "/sign-out", decision="yes"))


def given_back(office: SignOn) -> Somebody:
    _, program, tokens = signed_in(office, "back")
    sent = {"token": tokens["refresh_token"], "client_id": program.about["id"]}
    sent["client_secret"] = program.about["secret"]
    return Somebody("back", tokens["access_token"], lambda: office.ask("POST", "/revoke", sent))


def stolen(office: SignOn) -> Somebody:
    _, program, tokens = signed_in(office, "thief")
    new = program.refresh(tokens["refresh_token"]).json
    return Somebody("thief", new["access_token"], lambda: program.refresh(tokens["refresh_token"]))


def of_a_device(office: SignOn) -> Somebody:
    office.person("dev")
    browser = Browser(office)
    browser.sign_in("dev@example.com")
    tool = Program(office, office.client("Tool", flows=["device"], public=True))
    shown = begin(tool)
    page = browser.fill(browser.get("/device"), "/device", code=shown["user_code"])
    browser.fill(page, "/device", decision="allow")
    return Somebody("dev", look(tool, shown)["access_token"], lambda: office.box.run("users", "disable", "dev"))


def of_a_program(office: SignOn) -> Somebody:
    robot = Program(office, office.client("Robot", flows=["service"]))
    token = robot.token(grant_type="client_credentials").json["access_token"]
    return Somebody("program:Robot", token, lambda: office.box.run("clients", "remove", "Robot", "--yes"))


WAYS: dict[str, tuple[Callable[[SignOn], Somebody], str]] = {
    "key revoked": (lambda office: with_key(office, "rev", "keys", "revoke", "ID", "--yes"), "key-refused"),
    "owner suspended": (
        lambda office: with_key(office, "sus", "keys", "suspend", "--owner", "LOGIN", "--yes"), "suspended",
    ),
    "team suspended": (
        lambda office: with_key(office, "tea", "keys", "suspend", "--team", "team-LOGIN", "--yes"), "suspended",
    ),
    "person disabled, by key": (lambda office: with_key(office, "dik", "users", "disable", "LOGIN"), "suspended"),
    "person removed, by key": (lambda office: with_key(office, "rem", "users", "remove", "LOGIN", "--yes"), ""),
    "person disabled, by token": (disabled, ""),
    "signed out": (signed_out, "key-refused"),
    "token given back": (given_back, "key-refused"),
    "refresh token stolen": (stolen, "key-refused"),
    "person disabled, by a device": (of_a_device, ""),
    "program removed": (of_a_program, "key-refused"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_an_answer_ends_with_the_right_to_it(office: SignOn, fake_engine: FakeEngine, beside: Stream, way: str) -> None:
    make, code = WAYS[way]
    who = make(office)
    stream = Stream(office.box, who.key, slow())
    wait_until(lambda: stream.words > 3, what="the answer")
    cancelled = fake_engine.stats()["cancelled"]
    who.off()
    off_at = time.monotonic()
    wait_until(lambda: stream.ended_at, WITHIN_S, "the end of the answer")
    wait_until(lambda: fake_engine.stats()["cancelled"] == cancelled + 1, WITHIN_S, "the engine's cancellation")
    assert stream.ended_at - off_at < WITHIN_S
    # Where two things happen at once, the switch and the end of the sign-on, either may be told.
    assert stream.code in ((code,) if code else ("suspended", "key-refused"))
    assert b"[DONE]" not in stream.said
    row = next(row for row in office.box.rows() if row["principal"] == who.login)
    assert (row["outcome"], row["error"], row["settled_at"] is None) == ("cancelled", stream.code, False)
    assert row["completion_tokens"] == stream.words
    seen = beside.words
    wait_until(lambda: beside.words > seen + 5, what="the answer beside")
    assert not beside.ended_at


@pytest.mark.slow
def test_whoever_waits_or_asks_without_a_stream_is_told_too(office: SignOn, fake_engine: FakeEngine) -> None:
    plain = with_key(office, "pla", "users", "disable", "LOGIN")
    registered(office)
    known = chat_secrets.ensure(find_home(office.box.config, office.box.state))
    streams = [
        Stream(office.box, plain.key, ask(SLOW)),
        Stream(office.box, plain.key, {**slow(), "max_tokens": 900}, "/v1/messages"),
        Stream(office.box, plain.key, {"model": "chat", "input": SLOW, "stream": True}, "/v1/responses"),
        Stream(
            office.box, known.service_key, {"model": "embed", "input": "wait=20000"}, "/v1/embeddings",
            **voucher(known, "pla@example.com"),
        ),
    ]  # fmt: skip
    wait_until(lambda: len([row for row in office.box.rows(20) if row["principal"] == "pla"]) == 4, what="four answers")
    plain.off()
    wait_until(lambda: all(one.ended_at for one in streams), WITHIN_S, "the ends of all")
    assert streams[0].said.startswith(b"HTTP/1.1 403")
    assert streams[3].said.startswith(b"HTTP/1.1 403")
    for one in streams:
        assert b'"suspended"' in one.said
    rows = [row for row in office.box.rows(20) if row["principal"] == "pla"]
    assert {(row["outcome"], row["error"]) for row in rows} == {("cancelled", "suspended")}
    assert len(rows) == 4
    denied = [one for one in office.events("denied") if one["actor"] == "pla"]
    assert {(one["target"], one["facts"]["code"]) for one in denied} == {
        (path, "suspended") for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings")
    }


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [True, False])
def test_whoever_stands_in_line_leaves_it(office: SignOn, fake_engine: FakeEngine, streamed: bool) -> None:
    """The engine has one slot, which somebody else holds. After two seconds a stream says words about the line."""
    holder = Stream(office.box, office.box.key("beside"), {**slow("tokens=9000 delay=30"), "model": "small"})
    wait_until(lambda: holder.words > 3, what="an answer that holds the slot")
    who = with_key(office, f"lin{streamed}".lower(), "users", "disable", "LOGIN")
    asked = fake_engine.stats()["asked"]
    stream = Stream(office.box, who.key, {**slow(), "model": "small", "stream": streamed})
    if streamed:
        wait_until(lambda: b": waiting" in stream.said, what="words about the line")
    who.off()
    wait_until(lambda: stream.ended_at, WITHIN_S, "the end of waiting")
    assert stream.said.startswith(b"HTTP/1.1 200" if streamed else b"HTTP/1.1 403")
    assert stream.code == "suspended"
    assert not holder.ended_at
    holder.close()
    assert fake_engine.stats()["asked"] == asked
    assert not [row for row in office.box.rows() if row["principal"] == who.login]


@pytest.mark.slow
def test_a_request_that_is_still_being_sent_does_not_slip_through(office: SignOn, fake_engine: FakeEngine) -> None:
    sender = with_key(office, "snd", "keys", "suspend", "--owner", "LOGIN", "--yes")
    data = json.dumps(slow()).encode()
    with socket.create_connection(("127.0.0.1", office.box.port), timeout=30) as opened:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {sender.key}\r\n"
        opened.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data[:10])
        # Its credential is good until here: the answer to a request after it is proof that it was looked at.
        assert office.box.get("/v1/models", sender.key)[0] == 200
        sender.off()
        asked = fake_engine.stats()["asked"]
        done = time.monotonic()
        wait_until(lambda: time.monotonic() > done + 0.5, what="a look at who is inside")
        opened.sendall(data[10:])
        assert opened.recv(65536).startswith(b"HTTP/1.1 403")
    assert fake_engine.stats()["asked"] == asked
    assert not [row for row in office.box.rows() if row["principal"] == "snd"]


@pytest.mark.slow
def test_an_answer_outlives_a_key_that_only_expires(office: SignOn) -> None:
    with session(office.box.state / "appliance.db") as opened:
        key, secret = keys.create(opened, "exp")
        key_id = key.id
    stream = Stream(office.box, secret, slow("tokens=60 delay=30"))
    wait_until(lambda: stream.words > 3, what="the answer")
    with session(office.box.state / "appliance.db", alone=True) as opened:
        found = opened.get(ApiKey, key_id)
        assert found is not None
        found.expires_at = now_us() - 1
    assert office.box.get("/v1/models", secret)[2]["error"]["code"] == "key-expired"
    wait_until(lambda: stream.ended_at, 30, "the end of the answer")
    assert b"[DONE]" in stream.said
