"""HTTP to another provider: bounded in time and size, and nowhere else than where it was asked for."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

LONGEST_S: Final = 10.0
LARGEST: Final = 1 << 20


class FarError(Exception):
    """A provider did not answer as it should. Its text says how, and goes on after the provider's name."""


class Far:
    """One provider's web server. `ca_file` is the company's own CA; without it the system's CAs count."""

    def __init__(self, ca_file: str | None = None, longest_s: float = LONGEST_S) -> None:
        self._ca_file = ca_file
        self._longest_s = longest_s

    def get(self, address: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """A JSON object. Raises FarError."""
        return self._document(address, "GET", None, headers or {})

    def post(self, address: str, fields: dict[str, str], headers: dict[str, str]) -> dict[str, Any]:
        """The JSON object that answers a form. Raises FarError."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._document(address, "POST", urlencode(fields), {**kind, **headers})

    def _document(self, address: str, method: str, body: str | None, headers: dict[str, str]) -> dict[str, Any]:
        status, content = self._ask(address, method, body, {"Accept": "application/json", **headers})
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if status != 200:
            # What it answers is shown to nobody but the log, and only the word that the protocol has for it.
            said = found.get("error") if isinstance(found, dict) else None
            word = f" ({said[:60]})" if isinstance(said, str) and said.isprintable() and said.isascii() else ""
            raise FarError(f"answered {status}{word}")
        if not isinstance(found, dict):
            raise FarError("answered with what is no JSON object")
        return found

    def _ask(self, address: str, method: str, body: str | None, headers: dict[str, str]) -> tuple[int, bytes]:
        parts = urlsplit(address)
        path = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        late = threading.Event()
        try:
            connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
            connection.connect()
            # A server that sends a byte now and then would keep us for ever: the whole has a time, not each read.
            timer = threading.Timer(self._longest_s, _cut, (connection.sock, late))
            timer.start()
            try:
                connection.request(method, path, body, headers)
                said = connection.getresponse()
                content = said.read(LARGEST + 1)
            finally:
                timer.cancel()
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = f"took longer than {self._longest_s:.0f} s" if late.is_set() else f"cannot be asked: {_why(error)}"
            raise FarError(why) from error
        if late.is_set():
            raise FarError(f"took longer than {self._longest_s:.0f} s")
        if len(content) > LARGEST:
            raise FarError("answered with more than 1 MiB")
        return said.status, content

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=self._longest_s)
        tls = ssl.create_default_context(cafile=self._ca_file)
        return http.client.HTTPSConnection(host, port, timeout=self._longest_s, context=tls)


def _cut(connection: socket.socket, late: threading.Event) -> None:
    late.set()
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    return str(error)[:200] or type(error).__name__
