"""HTTP to another provider, with TLS: whose certificate counts."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.identity.far import Far, FarError
from tests.support import certificates


class Hello(BaseHTTPRequestHandler):
    """Answers with an empty object."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A server that is not surprised by clients which do not trust it."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server's port, and the CA of its certificate, which is for 127.0.0.1."""
    ca, certificate, key = certificates.make(tmp_path / "right")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    server = Server(("127.0.0.1", 0), Hello)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], ca
    server.shutdown()
    thread.join()
    server.server_close()


def test_only_the_right_ca_and_the_right_name_count(served: tuple[int, Path], tmp_path: Path) -> None:
    port, ca = served
    assert Far(str(ca)).get(f"https://127.0.0.1:{port}/") == {}
    other, *_ = certificates.make(tmp_path / "other")
    for far in (Far(str(other)), Far()):
        with pytest.raises(FarError, match="certificate is not trusted"):
            far.get(f"https://127.0.0.1:{port}/")
    with pytest.raises(FarError, match="certificate is not trusted"):
        Far(str(ca)).get(f"https://localhost:{port}/")
    with pytest.raises(FarError, match="cannot be asked"):
        Far(str(tmp_path / "missing.pem")).get(f"https://127.0.0.1:{port}/")
