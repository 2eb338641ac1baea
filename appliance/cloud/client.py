"""Ask a provider for an answer: the one place where anything leaves the box for the cloud."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import orjson

from appliance.cloud import anthropic_request, openai, secrets
from appliance.cloud.anthropic_stream import AnthropicStream
from appliance.cloud.connection import CloudConnection, Reader, connector
from appliance.cloud.failures import Failures
from appliance.cloud.switch import is_off
from appliance.config.version import VERSION
from appliance.deployment import CloudTerms, Engine
from appliance.engine.client import EngineClient
from appliance.engine.connection import Connection
from appliance.errors import ApplianceError
from appliance.policy.cloud import Permit, switched_off, without_permit

_MOST_WORDS: Final = 64 * 1024
_EVENTS: Final = "text/event-stream"


class _Dialect(Protocol):
    """What a module for a dialect has."""

    PATH: str

    def headers(self, key: str | None) -> list[str]: ...

    def request(self, fields: dict[str, Any], max_tokens: int, reasoning: bool) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Question:
    """A request as it goes out, and who makes errors about its answer."""

    request: bytes = field(repr=False)
    failures: Failures


class CloudClient(EngineClient):
    """A provider's model, asked as an engine is. Without terms, a permit and a key nothing is sent."""

    def __init__(self, engine: Engine, terms: CloudTerms | None) -> None:
        # The key is not the business of the class above, which would read it once and for all.
        super().__init__(Engine(engine.role, engine.model, engine.names, engine.upstream_model, url=engine.url), 0.0)
        self.engine = engine
        self._terms = terms
        self._url = (engine.url or "").rstrip("/")
        self._dialect: _Dialect = anthropic_request if engine.dialect == "anthropic" else openai
        self._connect = connector(self._url, terms.proxy if terms else None)

    async def ask(self, path: str, body: bytes, permit: object = None) -> tuple[Connection, float]:
        """Ask for a chat completion: nothing else can be asked here.

        Returns the connection once a stream has begun. Nothing is waited for.

        Whatever way the provider speaks, the connection's `some` gives the stream of OpenAI's chunks. The caller gives
        it back with `release`. Only opening a connection is tried again, once: then nothing had been sent.
        Raises cloud-off, cloud-not-allowed, field-bad-value, cloud-key-missing, cloud-unavailable, cloud-refused,
        cloud-key-refused, cloud-limit, context-too-long or cloud-failed.
        """
        terms = self._terms
        if terms is None or is_off(terms.switch):
            raise switched_off()
        if not isinstance(permit, Permit):
            raise without_permit()
        question = self._question(orjson.loads(body), permit)
        connection = await self._open(question.failures)
        try:
            connection.begin(question.failures, terms.silence_s, terms.switch)
            await self._put(connection, question)
        except BaseException:
            connection.close()
            raise
        return connection, 0.0

    async def ready(self) -> bool:
        """Always: no word goes out only to ask whether somebody is there."""
        return True

    async def _ask(self, request: bytes) -> Connection:
        """What the class above sends by is closed here, whatever is added to it."""
        raise without_permit()

    def _question(self, fields: dict[str, Any], permit: Permit) -> _Question:
        engine = self.engine
        key = self._key()
        wanted = orjson.dumps(self._dialect.request(fields, permit.max_tokens, engine.reasoning))
        address = urlsplit(self._url)
        lines = [
            f"POST {address.path}{self._dialect.PATH} HTTP/1.1",
            f"host: {address.netloc}",
            f"user-agent: appliance/{VERSION}",
            "content-type: application/json",
            f"accept: {_EVENTS}",
            *self._dialect.headers(key),
            f"content-length: {len(wanted)}",
        ]
        head = "\r\n".join([*lines, "", ""])
        return _Question(head.encode("latin-1") + wanted, Failures(engine.provider, key or ""))

    def _key(self) -> str | None:
        """The key as it is now, so that a new one needs no restart. A proxy on this machine may do without."""
        engine = self.engine
        try:
            key = secrets.read_key(Path(engine.api_key_file)) if engine.api_key_file else None
        except secrets.UnusableKeyError as error:
            raise secrets.missing(engine.provider, str(error)) from None
        if key is None and not self._url.startswith("http://"):
            raise secrets.missing(engine.provider, "there is none")
        return key

    async def _open(self, failures: Failures) -> CloudConnection:
        """A connection that waits, or a new one. Raises cloud-unavailable."""
        idle = self._take_idle()
        if isinstance(idle, CloudConnection):
            return idle
        try:
            return await self._connect_twice()
        except OSError as error:
            raise failures.unreachable(_why(error)) from None

    async def _connect_twice(self) -> CloudConnection:
        connect = self._connect
        try:
            found = await connect()
        except OSError:
            found = await connect()
        assert isinstance(found, CloudConnection)
        return found

    async def _put(self, connection: CloudConnection, question: _Question) -> None:
        """Send the question; returns once a stream has begun."""
        failures = question.failures
        try:
            status = await connection.ask(question.request)
        except OSError:
            raise failures.unreachable("it closed the connection") from None
        if status != 200:
            raise failures.answered(status, await _said(connection), connection.retry_after_s)
        if connection.content_type != _EVENTS:
            raise failures.not_understood(f"'{connection.content_type[:100]}' instead of a stream")
        connection.read_with(self._reader(failures))

    def _reader(self, failures: Failures) -> Reader:
        if self.engine.dialect == "anthropic":
            return AnthropicStream(failures, int(time.time()))
        return openai.OpenaiStream(failures)


async def _said(connection: CloudConnection) -> bytes:
    """A refusal's words, as far as they come."""
    try:
        return await connection.read(_MOST_WORDS)
    except ApplianceError as error:
        if error.code == "cloud-off":
            raise
        return b""


def _why(error: OSError) -> str:
    """Why no connection came about, for people."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    verify = getattr(error, "verify_message", "")
    return f"its certificate is not good: {verify}" if verify else (error.strerror or str(error))
