"""GET over HTTP(S) for large files: redirects and proxies by our own rules, bodies into the caller's buffer.

On http.client, because that reads a socket straight into a buffer of ours: the hub library's own
client hands out 64 KiB copies, at more than twice the CPU a byte.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import unquote, urljoin, urlsplit

from appliance.errors import ApplianceError
from appliance.units import KIB

_REDIRECTS = 10
_LONGEST_REDIRECT = 64 * KIB
_REDIRECTING = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Remote:
    """An address to fetch from, and headers; `Authorization` goes to this host and no other."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The host's name, for messages: an address may carry a signature."""
        return urlsplit(self.url).hostname or self.url


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme, 0)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def next_hop(remote: Remote, location: str) -> Remote:
    """Where a redirect leads. Raises source-not-allowed when it leaves HTTPS.

    The authorization stays with the host that it is meant for.
    """
    url = urljoin(remote.url, location)
    scheme, host, _ = origin(url)
    stays = scheme == "http" and origin(remote.url)[:2] == ("http", host)
    plain = scheme == "http" and origin(remote.url)[0] == "http" and is_loopback(host)
    if not (scheme == "https" or stays or plain):
        raise ApplianceError(
            "source-not-allowed",
            f"{remote.host} sends us on to {scheme}://{host}, which is not encrypted.",
            "Do not use this source until that is explained.",
        )
    if origin(url) == origin(remote.url):
        return Remote(url, remote.headers)
    return Remote(url, {name: value for name, value in remote.headers.items() if name.lower() != "authorization"})


class Line:
    """A connection for one thread, kept open from request to request as long as the host stays the same."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        # Kept apart: http.client lets go of a socket that is to be closed after the answer.
        self._socket: socket.socket | None = None
        self._ended = False
        self._origin: tuple[str, str, int] | None = None
        self._prefix = ""
        self._extra: dict[str, str] = {}

    def get(self, remote: Remote, more: Mapping[str, str]) -> tuple[http.client.HTTPResponse, Remote]:
        """The answer to a GET once no redirect is left, and who gave it; `more` headers go to every host.

        Raises OSError, http.client.HTTPException, source-not-allowed and, for a loop, download-failed.
        """
        for _ in range(_REDIRECTS):
            response = self._ask(remote, more)
            location = response.getheader("location")
            if response.status not in _REDIRECTING or not location:
                return response, remote
            self._leave(response)
            remote = next_hop(remote, location)
        raise ApplianceError(
            "download-failed", f"{remote.host} sends us in circles.", "Ask whoever runs it, or use another source."
        )

    def _ask(self, remote: Remote, more: Mapping[str, str]) -> http.client.HTTPResponse:
        if self._connection is None or self._origin != origin(remote.url):
            self.close()
            self._open(remote.url)
        assert self._connection is not None
        parts = urlsplit(remote.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # Compressed, the bytes would not be those of the file, and ranges would mean something else.
        headers = {"Accept-Encoding": "identity", "User-Agent": "appliance", **remote.headers, **more, **self._extra}
        self._connection.request("GET", self._prefix + target, headers=headers)
        self._socket = self._connection.sock
        if self._ended:
            # While it connected there was no socket that `abort` could have ended.
            raise ConnectionAbortedError("the download has ended")
        return self._connection.getresponse()

    def _leave(self, response: http.client.HTTPResponse) -> None:
        """Be done with an answer, so that the connection can serve the next request; hang up on a long one."""
        response.read(_LONGEST_REDIRECT)
        if not response.isclosed():
            self.close()

    def _open(self, url: str) -> None:
        """Choose direct or by proxy, as the environment says (HTTPS_PROXY, NO_PROXY and their like)."""
        scheme, host, port = self._origin = origin(url)
        self._prefix, self._extra = "", {}
        proxy = None
        if not is_loopback(host) and not urllib.request.proxy_bypass(host):
            proxy = urllib.request.getproxies().get(scheme)
        if proxy is None:
            self._connection = self._connect(scheme, host, port)
            return
        via = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        self._connection = self._connect(scheme, via.hostname or "", via.port or _PORTS.get(via.scheme, 80))
        if scheme == "https":
            self._connection.set_tunnel(host, port, _proxy_headers(via.username, via.password))
        else:
            self._prefix, self._extra = f"http://{urlsplit(url).netloc}", _proxy_headers(via.username, via.password)

    def _connect(self, scheme: str, host: str, port: int) -> http.client.HTTPConnection:
        if scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=_trust())
        return http.client.HTTPConnection(host, port, timeout=self._timeout_s)

    def abort(self) -> None:
        """End it from another thread: whoever reads from it gets an error at once."""
        self._ended = True
        opened = self._socket
        if opened is not None:
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@cache
def _trust() -> ssl.SSLContext:
    """The certificates that the hub library trusts: the system's, and what the environment adds."""
    import httpx2

    return httpx2.create_ssl_context()


def _proxy_headers(user: str | None, password: str | None) -> dict[str, str]:
    if user is None:
        return {}
    secret = b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {secret}"}
