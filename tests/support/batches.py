"""Batches of a test: their input, their uploads by hand, and waiting for their end."""

from __future__ import annotations

import http.client
import json
import time
import urllib.request
from collections.abc import Iterable
from typing import Any

from tests.support.box import Box

CHAT = "/v1/chat/completions"
_EDGE = b"edge-of-parts"
ENDED = ("completed", "failed", "expired", "cancelled")


def line(custom_id: str, orders: str = "tokens=3", **more: Any) -> dict[str, Any]:
    """One line of an input, for the fake engine."""
    body = {"model": "chat", "messages": [{"role": "user", "content": orders}]}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, **more}


def data(lines: Iterable[Any]) -> bytes:
    """An input."""
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def form(content: bytes, purpose: str = "batch") -> bytes:
    """A form with a file."""
    head = b"--" + _EDGE + b'\r\ncontent-disposition: form-data; name="'
    field = head + b'purpose"\r\n\r\n' + purpose.encode() + b"\r\n"
    return field + head + b'file"; filename="in.jsonl"\r\n\r\n' + content + b"\r\n--" + _EDGE + b"--\r\n"


def upload(box: Box, key: str, content: bytes, purpose: str = "batch") -> tuple[int, Any]:
    """Status and JSON of an upload."""
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=60)
    kind = f"multipart/form-data; boundary={_EDGE.decode()}"
    headers = {"authorization": f"Bearer {key}", "content-type": kind}
    try:
        connection.request("POST", "/v1/files", form(content, purpose), headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def begin(box: Box, key: str, lines: Iterable[Any], **more: Any) -> str:
    """A new batch of these lines; its id."""
    status, said = upload(box, key, data(lines))
    assert status == 200, said
    wanted = {"input_file_id": said["id"], "endpoint": CHAT, "completion_window": "24h", **more}
    status, _, said = box.post(wanted, key, "/v1/batches")
    assert status == 200, said
    return str(said["id"])


def now(box: Box, key: str, id: str) -> dict[str, Any]:
    """A batch as it is."""
    status, _, said = box.get(f"/v1/batches/{id}", key)
    assert status == 200, said
    found: dict[str, Any] = said
    return found


def until(box: Box, key: str, id: str, *states: str, done: int = 0, seconds: float = 30) -> dict[str, Any]:
    """A batch once it has come to one of these states, or to any end, with so many lines done."""
    deadline = time.monotonic() + seconds
    while True:
        found = now(box, key, id)
        counts = found["request_counts"]
        if found["status"] in (states or ENDED) and counts["completed"] + counts["failed"] >= done:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def results(box: Box, key: str, batch: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of both files of results."""
    files = (batch["output_file_id"], batch["error_file_id"])
    good, bad = ([json.loads(one) for one in content(box, key, id).splitlines()] if id else [] for id in files)
    return good, bad


def content(box: Box, key: str, id: str) -> bytes:
    """The bytes of a file."""
    asked = urllib.request.Request(f"http://127.0.0.1:{box.port}/v1/files/{id}/content")
    asked.add_header("authorization", f"Bearer {key}")
    with urllib.request.urlopen(asked, timeout=30) as response:
        return bytes(response.read())
