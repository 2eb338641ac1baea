"""Providers of the cloud as processes of their own, and what the gateway makes of their answers."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from appliance.cloud.client import CloudClient
from appliance.deployment import CloudTerms, Engine
from appliance.errors import ApplianceError
from appliance.gateway.answers import chat_answer
from appliance.http.asgi import Message, Request
from appliance.policy.chat import read
from appliance.policy.cloud import Permit
from tests.support.box import environment

KEY = "sk-ant-very-secret-0123456789"


class FakeAnthropic:
    """Runs `tests.support.fake_anthropic` on a free port. What it does stands in the prompt: see there."""

    def __init__(self, *certificate: Path) -> None:
        program = [sys.executable, "-m", "tests.support.fake_anthropic", KEY, *map(str, certificate)]
        self._process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment())
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.root = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.url = f"{self.root}/v1"

    def stats(self) -> dict[str, Any]:
        """`asked`, `finished`, `cancelled`, `elsewhere` (redirects followed), the `last` body and its `headers`."""
        trusting = ssl._create_unverified_context() if self.root.startswith("https") else None
        with urllib.request.urlopen(f"{self.root}/stats", timeout=10, context=trusting) as response:
            found: dict[str, Any] = json.load(response)
        return found

    def __enter__(self) -> FakeAnthropic:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@dataclass
class Outside:
    """A model of the cloud and the terms for it, in a folder of the test's own."""

    folder: Path
    url: str
    dialect: str = "anthropic"
    key: str | None = KEY
    upstream_model: str = "claude-x"
    silence_s: float = 20.0
    proxy: str | None = None
    reasoning: bool = False
    sent: list[MutableMapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.switch = self.folder / "cloud-off"
        self.key_file = self.folder / "far"
        if self.key is not None:
            self.key_file.touch(0o600)
            self.key_file.write_text(self.key + "\n")

    def client(self) -> CloudClient:
        """A client for it."""
        engine = Engine(
            "cloud:far-model", "far-model", ("far-model",), self.upstream_model, url=self.url, context=100_000,
            api_key_file=str(self.key_file), provider="far", dialect=self.dialect, max_output=64,
            reasoning=self.reasoning,
        )  # fmt: skip
        terms = CloudTerms(("*",), (), 10**9, self.silence_s, str(self.switch), self.proxy)
        return CloudClient(engine, terms)

    async def answer(self, client: CloudClient, orders: str, *, stream: bool = False, **more: Any) -> Answered:
        """One request as the gateway handles it, from the body to the last byte."""
        sent: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        body = {"model": "far-model", "messages": [{"role": "user", "content": orders}], "stream": stream, **more}
        wanted = read(json.dumps(body).encode())

        async def receive() -> Message:
            raise AssertionError("nothing is read")

        answer = chat_answer(wanted, client.engine, Request({"headers": []}, receive, "req-1"))
        error: ApplianceError | None = None
        connection = None
        try:
            connection, _ = await client.ask("/chat/completions", answer.upstream_body(), Permit(64))
            await answer.take(connection, send)
            await answer.finish(send)
        except ApplianceError as caught:
            error = caught
            await answer.fail(send, caught)
        finally:
            if connection is not None:
                client.release(connection)
        answer.tally.close()
        data = b"".join(message.get("body", b"") for message in sent)
        counts = (answer.tally.prompt, answer.tally.cached, answer.tally.completion, answer.tally.exact)
        return Answered(sent[0]["status"], data, error, counts)


@dataclass
class Answered:
    """What a client got; `counts` are prompt, cached and completion tokens and whether they are exact."""

    status: int
    body: bytes
    error: ApplianceError | None
    counts: tuple[int, int, int, bool]

    @property
    def code(self) -> str | None:
        """The error's code."""
        return self.error.code if self.error else None

    def json(self) -> Any:
        """A plain answer."""
        return json.loads(self.body)

    def events(self) -> list[str]:
        """The data of the events of a streamed answer."""
        return [event.removeprefix("data: ") for event in self.body.decode().split("\n\n") if event]
