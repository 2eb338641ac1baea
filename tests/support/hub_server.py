"""A model hub with one repository and one file, that misbehaves as it is told.

POST /control takes JSON that changes some of these orders; all hold until changed:

    file         the path of the file that it serves
    name         the file's name in the repository (model.gguf)
    commit       the commit that every revision but a commit means
    lfs          whether the list of files states the SHA-256
    linked       whether the file's headers state SHA-256 and size
    sha256       the SHA-256 that it states, where that is not the file's
    list_sha256  the same, of its list of files alone
    redirect     "" answer in place, "cdn" send on, "host" to another host (localhost), "loop" in circles,
                 "plain" to an unencrypted host elsewhere
    ranges       whether it knows ranges
    version      what the ETag says beside the hash; "" for no ETag
    restless     whether every answer has another version
    change_at    the request for content from which on the version is another one
    gone_at      the request for content from which on the file is not there
    fail         [status, how many times, Retry-After or null]
    cut          the share of answers that end at a random byte
    flip         the number of answers yet to come with one wrong byte in them
    longer       bytes by which it exaggerates the file's length
    rate         bytes a second, of each answer (0: as fast as it can)
    token        the token without which it refuses

GET /log tells what was asked since the last /control. Prints its port and serves until it is ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import sys
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ORDERS: dict[str, Any] = {
    "file": "", "name": "model.gguf", "commit": COMMIT, "lfs": True, "linked": True, "sha256": "", "list_sha256": "",
    "redirect": "host", "ranges": True, "version": "one", "restless": False, "change_at": 0, "gone_at": 0,
    "fail": [0, 0, None], "cut": 0.0, "flip": 0, "longer": 0, "rate": 0, "token": "",
}  # fmt: skip
_REPO = r"(?P<repo>[^/]+/[^/]+)"
_RESOLVE = re.compile(rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
_PATHS = re.compile(rf"/api/models/{_REPO}/paths-info/(?P<revision>[^/]+)")
_INFO = re.compile(rf"/api/models/{_REPO}(/revision/(?P<revision>[^/]+))?")
_MOST = 4 << 20


@cache
def sha256_of(path: str, changed: int) -> str:
    """The file's hash; `changed` is its time of change, so that another file under the name is hashed anew."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Hub(ThreadingHTTPServer):
    """The orders, and what was asked."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.orders = dict(ORDERS)
        self.lock = threading.Lock()
        self.random = random.Random(seed)
        self.log: list[dict[str, Any]] = []
        self.contents = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what the tests are about."""

    def told(self, changes: dict[str, Any]) -> None:
        with self.lock:
            assert not set(changes) - set(ORDERS), changes
            self.orders |= changes
            self.log, self.contents = [], 0

    def stated(self) -> tuple[str, int]:
        """Hash and size as the hub states them."""
        file = Path(self.orders["file"])
        found = file.stat()
        return self.orders["sha256"] or sha256_of(str(file), found.st_mtime_ns), found.st_size + self.orders["longer"]

    def spend(self, order: str) -> bool:
        """Take one off an order that holds a number of times."""
        with self.lock:
            left: int = self.orders[order]
            self.orders[order] = max(0, left - 1)
            return left > 0

    def refusal(self) -> tuple[int, str | None] | None:
        """The status that this request fails with, if it is to fail."""
        with self.lock:
            status, times, after = self.orders["fail"]
            self.orders["fail"] = [status, max(0, times - 1), after]
            return (status, after) if times else None


class Answer(BaseHTTPRequestHandler):
    """One connection."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/control":
            self.server.told(json.loads(body))
            return self._json({})
        name, (sha256, size) = self.server.orders["name"], self.server.stated()
        entry: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": "0" * 40}
        if self.server.orders["lfs"]:
            entry["lfs"] = {"oid": self.server.orders["list_sha256"] or sha256, "size": size, "pointerSize": 134}
        if _PATHS.fullmatch(self.path) and self._may():
            return self._json([entry] if name in body.decode() else [])
        return None

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        with self.server.lock:
            asked = {name: self.headers[name] for name in ("range", "if-range", "authorization", "host")}
            log = list(self.server.log)
            self.server.log.append({"method": self.command, "path": self.path, **asked})
        if self.path == "/log":
            return self._json(log)
        if self.path.startswith("/cdn/"):
            return self._content()
        if not self._may():
            return None
        if match := _RESOLVE.fullmatch(self.path):
            return self._resolve(match["revision"], match["file"])
        if _INFO.fullmatch(self.path):
            return self._json({"id": "maker/model", "sha": self.server.orders["commit"], "siblings": []})
        return self._empty(404)

    def log_message(self, format: str, *args: object) -> None:
        """The log is asked for."""

    def _may(self) -> bool:
        token = self.server.orders["token"]
        if token and self.headers["authorization"] != f"Bearer {token}":
            self._empty(401)
            return False
        return True

    def _resolve(self, revision: str, name: str) -> None:
        orders = self.server.orders
        if name != orders["name"]:
            return self._empty(404, {"X-Error-Code": "EntryNotFound"})
        sha256, size = self.server.stated()
        stated = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(size)} if orders["linked"] else {}
        headers = {"X-Repo-Commit": revision if len(revision) == 40 else orders["commit"], **stated}
        port = self.server.server_address[1]
        target = {
            "cdn": "/cdn/file?signed=1",
            "host": f"http://localhost:{port}/cdn/file?signed=1",
            "loop": self.path,
            "plain": "http://models.example/file",
        }.get(orders["redirect"])
        if self.command == "HEAD":
            return self._empty(302 if target else 200, headers | {"Location": target or self.path})
        if target:
            return self._empty(302, headers | {"Location": target})
        return self._content(headers)

    def _content(self, headers: dict[str, str] | None = None) -> None:
        """The file's bytes, or a range of them, with all that is to go wrong."""
        orders, refused = self.server.orders, self.server.refusal()
        if refused:
            return self._empty(refused[0], {"Retry-After": refused[1]} if refused[1] is not None else {})
        with self.server.lock:
            self.server.contents += 1
            number = self.server.contents
        if orders["gone_at"] and number >= orders["gone_at"]:
            return self._empty(404)
        size = Path(orders["file"]).stat().st_size + orders["longer"]
        changed = orders["change_at"] and number >= orders["change_at"]
        mark = str(number) if orders["restless"] else "-new" if changed else ""
        etag = f'"{orders["version"]}{mark}"' if orders["version"] else None
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["range"] or "") if orders["ranges"] else None
        if asked and self.headers["if-range"] not in (None, etag):
            asked = None
        start, end = (int(asked[1]), min(int(asked[2]) + 1, size)) if asked else (0, size)
        self.send_response_only(206 if asked else 200)
        for name, value in {**(headers or {}), "ETag": etag, "Content-Length": str(end - start)}.items():
            if value is not None:
                self.send_header(name, value)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            self._send(start, end)
        return None

    def _send(self, start: int, end: int) -> None:
        """Send the bytes, fast, slowly, wrong, or not to the end."""
        orders, dice = self.server.orders, self.server.random
        self.wfile.flush()
        # A byte comes at least: nobody puts up for ever with a line that brings none.
        cut = dice.random() < orders["cut"] and end - start > 1
        stop = dice.randrange(start + 1, end) if cut else end
        whole = Path(orders["file"]).stat().st_size
        with Path(orders["file"]).open("rb") as file:
            if end - start > 1 and self.server.spend("flip"):
                data = bytearray(os.pread(file.fileno(), end - start, start))
                data[dice.randrange(len(data))] ^= 1
                self.wfile.write(data)
                return
            at, step = start, _MOST if not orders["rate"] else max(1, orders["rate"] // 50)
            while at < min(stop, whole):
                at += os.sendfile(self.connection.fileno(), file.fileno(), at, min(step, min(stop, whole) - at))
                time.sleep(0.02 if orders["rate"] else 0)
        if stop < end or end > whole:
            self.close_connection = True

    def _empty(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response_only(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    with Hub(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as hub:
        print(hub.server_address[1], flush=True)
        hub.serve_forever(poll_interval=600)
