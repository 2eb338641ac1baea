"""An appliance of a test's own: a settings file, a state folder, and the real command line on them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.accounts.keys import create
from appliance.config.paths import find_home
from appliance.ledger import usage
from appliance.store.sessions import session

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def wait_until(true: Any, seconds: float = 20.0, what: str = "the condition") -> None:
    """Wait until a function returns something true; fails the test when it does not in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


@dataclass
class Box:
    """One appliance. `folder` is the test's own; `port` is the gateway's."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.config = self.folder / "appliance.toml"
        self.state = self.folder / "var"
        self.process: subprocess.Popen[bytes] | None = None
        if not self.config.exists():
            self.configure()

    def configure(self, text: str = "") -> None:
        """Write the settings file: the port, and more."""
        self.config.write_text(f"[gateway]\nport = {self.port}\n{text}")

    def argv(self, *words: str) -> list[str]:
        """The command line of `appliance` on this box."""
        return [
            sys.executable,
            "-P",
            "-m",
            "appliance",
            "--config",
            str(self.config),
            "--state",
            str(self.state),
            *words,
        ]

    def run(
        self,
        *words: str,
        code: int | None = 0,
        timeout: float = 120,
        before: Sequence[str] = (),
        env: Mapping[str, str | None] | None = None,
        given: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and insist on its exit code, unless that is None.

        `before` goes ahead of it, `env` changes its environment, `given` is what it reads.
        """
        changed = environment() | dict(env or {})
        done = subprocess.run(
            [*before, *self.argv(*words)],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={name: value for name, value in changed.items() if value is not None},
            input=given,
        )
        assert code in (None, done.returncode), f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done

    def document(self, *words: str, code: int | None = 0, **how: Any) -> Any:
        """What a command with --json prints; `how` goes to `run`."""
        return json.loads(self.run(*words, "--json", code=code, **how).stdout)

    def key(self, owner: str = "anna") -> str:
        """A new API key."""
        if not (self.state / "appliance.db").exists():
            return str(self.document("keys", "create", "--owner", owner)["key"])
        find_home(self.config, self.state).prepare()
        with session(self.state / "appliance.db") as opened:
            return create(opened, owner)[1]

    def rows(self, limit: int = 100_000) -> list[dict[str, Any]]:
        """The ledger's rows, newest first."""
        with session(self.state / "appliance.db") as opened:
            return usage.rows(opened, limit)

    def serve(self, wait: bool = True) -> subprocess.Popen[bytes]:
        """Start the request path alone."""
        with (self.folder / "serve.log").open("ab") as log:
            self.process = subprocess.Popen(self.argv("serve"), stdout=log, stderr=log, env=environment())
        if wait:
            wait_until(lambda: self.answers("/health"), what="the gateway's health")
        return self.process

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End the request path."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)
        self.process = None

    def answers(self, path: str) -> bool:
        """Whether the gateway answers 200 there."""
        try:
            return self.get(path)[0] == 200
        except OSError:
            return False

    def get(self, path: str, key: str | None = None) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of a GET."""
        return self.request("GET", path, None, key)

    def post(
        self, body: Any, key: str | None, path: str = "/v1/chat/completions", headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of a POST; `body` is JSON, or bytes as they are."""
        return self.request("POST", path, body, key, headers)

    def open(self, key: str, body: dict[str, Any], path: str = "/v1/chat/completions") -> socket.socket:
        """A request sent by hand, so that the test can hang up where it likes."""
        data = json.dumps(body).encode()
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        opened.sendall(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        return opened

    def request(
        self, method: str, path: str, body: Any, key: str | None, more: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """One request over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {**(more or {}), **({"authorization": f"Bearer {key}"} if key else {})}
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            said = response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, json.loads(said) if said[:1] in (b"{", b"[") else said
        finally:
            connection.close()


def environment() -> dict[str, str]:
    """The environment of a command: ours, with this checkout's code."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def ask(content: str = "Say hello", **more: Any) -> dict[str, Any]:
    """A chat completion request."""
    return {"model": "chat", "messages": [{"role": "user", "content": content}], **more}


def bodies(content: str = "tokens=3", **more: Any) -> dict[str, dict[str, Any]]:
    """A request for every address at which a model is asked."""
    chat = ask(content, **more)
    responses = {"model": "chat", "input": content, **more}
    messages = {**chat, "max_tokens": 99}
    return {
        "/v1/chat/completions": chat,
        "/v1/chat/completions/input_tokens": chat,
        "/v1/completions": {"model": "chat", "prompt": content, **more},
        "/v1/responses": responses,
        "/v1/responses/input_tokens": responses,
        "/v1/messages": messages,
        "/v1/messages/count_tokens": chat,
        "/v1/embeddings": {"model": "embed", "input": content, **more},
        "/v1/rerank": {"model": "rerank", "query": content, "documents": ["one", "two"], **more},
    }


def endless(content: str = "Tell a very long story", **more: Any) -> dict[str, Any]:
    """A request for 900 tokens: the embedded model is kept from ending before (2 is its end of a turn)."""
    return ask(content, **{"max_tokens": 900, "stream": True, "logit_bias": {"2": -100}, **more})
