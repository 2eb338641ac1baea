"""One line of a batch, asked as a request is: the same steps, at the lowest priority, its answer collected."""

from __future__ import annotations

import asyncio
import secrets
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.gateway.chat import serve
from appliance.gateway.endpoints import Endpoint
from appliance.http.asgi import DisconnectedError, Header, Message, Request
from appliance.http.dialects import openai_error
from appliance.policy.batches import Batch, Line
from appliance.policy.principals import Principal

if TYPE_CHECKING:
    from appliance.gateway.box import Box

PRIORITY = "batch"


@dataclass(frozen=True, slots=True)
class Answered:
    """How a line was answered. Of a refusal besides: its code, when to come again, and whether that is hopeless."""

    status: int
    request_id: str
    body: bytes
    code: str = ""
    retry_after_s: int | None = None
    hopeless: bool = False


class Collector:
    """Takes an HTTP answer that is meant for a client."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.whole = False
        self._pieces: list[bytes] = []

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
        else:
            self._pieces.append(message.get("body", b""))
            self.whole = not message.get("more_body", False)

    def answered(self, request_id: str) -> Answered:
        """What was taken."""
        body = b"".join(self._pieces)
        code = "" if self.status == 200 else _code(body)
        return Answered(self.status, request_id, body, code, *_advice(self.headers))


async def ask_line(
    box: Box, endpoint: Endpoint, principal: Principal, batch: Batch, line: Line, gone: asyncio.Event
) -> Answered | None:
    """Ask for one line. None when it was cut off because `gone` was set, as by a client that hangs up.

    Raises key-refused or suspended where it was cut off because nothing more may be done for whoever made the batch.
    """
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": endpoint.path,
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in batch.headers),
        ],
        "client": None if batch.address is None else (batch.address, 0),
    }
    given = False

    async def receive() -> Message:
        nonlocal given
        if not given:
            given = True
            return {"type": "http.request", "body": line.body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    id = f"req-{secrets.token_hex(12)}"
    collector, request = Collector(), Request(scope, receive, id)
    try:
        await serve(endpoint, box, replace(principal, priority=PRIORITY), request, collector)
    except DisconnectedError:
        return None
    except ApplianceError as error:
        request.check()
        return refused(error, id)
    except Exception:  # noqa: BLE001 - as in the router: whatever arrives here is a bug, and says so
        note("bug", id, path=endpoint.path, trace=traceback.format_exc())
        sentence = "Something went wrong inside the appliance."
        return refused(ApplianceError("internal", sentence, f"Give your admin this number: {id}."), id)
    if collector.status != 200:
        request.check()
    return collector.answered(id) if collector.whole else None


def refused(error: ApplianceError, id: str) -> Answered:
    """A refusal as the answer of a line."""
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers[b"retry-after"] = b"%d" % error.retry_after_s
    return Answered(error.kind.http or 500, id, openai_error(error, id), error.code, *_advice(headers))


def _code(body: bytes) -> str:
    """The code of an error in OpenAI's form."""
    try:
        return str(orjson.loads(body)["error"]["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


def _advice(headers: dict[bytes, bytes]) -> tuple[int | None, bool]:
    """When to come again, in seconds, and whether that is hopeless."""
    after: Header | bytes | None = headers.get(b"retry-after")
    seconds = int(after) if isinstance(after, bytes) and after.isdigit() else None
    return seconds, headers.get(b"x-should-retry") == b"false"
