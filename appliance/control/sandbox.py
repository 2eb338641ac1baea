"""A second box beside the one that serves: with restored state, in a folder of its own, and nobody else comes to it."""

from __future__ import annotations

import html
import http.client
import json
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import tomlkit
from sqlmodel import delete

from appliance.accounts import keys, people
from appliance.accounts.passwords import hashed
from appliance.accounts.tables import Budget
from appliance.artifacts.shelf import Shelf
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control import up
from appliance.control.plan import catalogue
from appliance.errors import ApplianceError
from appliance.ledger import usage
from appliance.selector.choose import EMBEDDED
from appliance.store.files import write_atomic
from appliance.store.sessions import session
from appliance.supervise.where import read_report, supervisor_pid

_EMAIL: Final = "drill@appliance.invalid"
# What reaches out, or is reached from outside, or is not needed to try what was restored.
_WITHOUT: Final = ("backup", "chat", "cloud", "lan", "mail", "routing")
_START_S: Final = 300.0
_ANSWER_S: Final = 300.0
_END_S: Final = 60.0
_POLL_S: Final = 0.1
_ROWS: Final = 20


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who exists in the sandbox alone, so that the box can be tried as staff meet it."""

    password: str
    key: str


def settings_for(text: str, gateway: int, sign_on: int, model: str | None) -> str:
    """The settings of a box as its sandbox has them: ports of its own, one small engine, and no way out.

    `model` takes the place of the one that is served; None leaves it.
    """
    document = tomlkit.parse(text).unwrap()
    for name in _WITHOUT:
        document.pop(name, None)
    about = document.setdefault("gateway", {})
    about.update({"host": "127.0.0.1", "port": gateway, "insecure_lan": False})
    enabled = bool(document.get("identity", {}).get("enabled", False))
    document["identity"] = {"enabled": enabled, "port": sign_on}
    chat = document.get("engines", {}).get("chat", {})
    if "url" not in chat:
        # It stands beside the engine that serves: as small as it can be.
        kept = {"model": model} if model else {name: chat[name] for name in ("model",) if name in chat}
        chat = {"context": 1024, "slots": 1, **kept}
    document["engines"] = {"chat": chat}
    return tomlkit.dumps(document)


def make(home: Home, sandbox: Home) -> Settings:
    """Have restored state be a sandbox, with the models of the box itself. Raises config-unreadable and the like."""
    (sandbox.state / "models").symlink_to(home.models)
    shelf, embedded = Shelf(home.models), catalogue(home).get(EMBEDDED)
    ports = _free_ports(2)
    text = sandbox.config.read_text() if sandbox.config.exists() else ""
    told = settings_for(text, ports[0], ports[1], EMBEDDED if shelf.has(embedded) else None)
    write_atomic(sandbox.config, told.encode())
    return load(sandbox.config)


def invite(sandbox: Home) -> Visitor:
    """Add the visitor. Budgets are about others, and may be used up."""
    password = secrets.token_urlsafe(24)
    with session(sandbox.database, alone=True) as opened:
        opened.exec(delete(Budget))
        person = people.add(opened, _EMAIL, name="Drill", password=hashed(password))
        _, key = keys.create(opened, person.login)
    return Visitor(password, key)


@contextmanager
def running(sandbox: Home, settings: Settings) -> Iterator[None]:
    """Have it run, and end it whatever happens. Raises process-failed, model-missing and the like."""
    supervisor = up.attach(sandbox, settings)
    try:
        _wait_ready(sandbox, supervisor)
        yield
    finally:
        supervisor.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            supervisor.wait(_END_S)
        supervisor.kill()
        supervisor.wait()


def _wait_ready(sandbox: Home, supervisor: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        report = read_report(sandbox.run)
        if report is not None and report.supervisor == supervisor_pid(sandbox.run) and report.all_ready:
            return
        if supervisor.poll() is not None or time.monotonic() > deadline:
            raise up.failure(sandbox)
        time.sleep(_POLL_S)


def sign_in(settings: Settings, visitor: Visitor) -> None:
    """Sign in as a browser does. Raises drill-failed."""
    port = settings.identity.port
    page, found = _ask(port, "GET", "/sign-in")
    cookies = "; ".join(one.partition(";")[0] for one in found.get_all("set-cookie") or ())
    hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.decode())
    form = {name: html.unescape(value) for name, value in hidden} | {"email": _EMAIL, "password": visitor.password}
    headers = {"content-type": "application/x-www-form-urlencoded", "cookie": cookies}
    said, found = _ask(port, "POST", "/sign-in", urlencode(form).encode(), headers, expected=303)
    if not any("session" in one for one in found.get_all("set-cookie") or ()):
        raise failed(f"nobody is signed in after the right password: {said[:200].decode(errors='replace')}")


def chat(sandbox: Home, settings: Settings, visitor: Visitor) -> None:
    """Ask the model through the gateway, and look the answer up in the ledger. Raises drill-failed."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "Say yes."}], "max_tokens": 8}
    headers = {"authorization": f"Bearer {visitor.key}", "content-type": "application/json"}
    said, found = _ask(settings.gateway.port, "POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
    written = json.loads(said)["usage"]["completion_tokens"]
    with session(sandbox.database) as opened:
        rows = usage.rows(opened, _ROWS)
    row = next((one for one in rows if one["request_id"] == found["x-request-id"]), None)
    if row is None or row["completion_tokens"] != written:
        raise failed("its answer is not in the ledger")


def _ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: Any = None, expected: int = 200
) -> tuple[bytes, http.client.HTTPMessage]:
    """One request: what was said, and the headers. Raises drill-failed for any other status than expected."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        said = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise failed(f"{path} does not answer: {error}") from error
    finally:
        connection.close()
    if response.status != expected:
        raise failed(f"{path} answers {response.status}: {said[:200].decode(errors='replace')}")
    return said, response.headers


def _free_ports(many: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    trials = [socket.socket() for _ in range(many)]
    try:
        for trial in trials:
            trial.bind(("127.0.0.1", 0))
        return [int(trial.getsockname()[1]) for trial in trials]
    finally:
        for trial in trials:
            trial.close()


def failed(why: str) -> ApplianceError:
    """A restored box that does not do what it should."""
    return ApplianceError(
        "drill-failed",
        f"The newest backup was restored, but {why}.",
        "Make a new one and try that: appliance backup create && appliance backup drill",
    )
