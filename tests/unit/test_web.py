"""Where a redirect may lead, and which proxy a request goes through."""

from __future__ import annotations

import socket
import threading

import pytest

from appliance.downloads.web import Line, Remote, is_loopback, next_hop
from appliance.errors import ApplianceError

REST = {"Cache-Control": "no-cache"}
TOKEN = {"Authorization": "Bearer secret", **REST}


@pytest.mark.parametrize(
    ("url", "location", "leads_to", "keeps_token"),
    [
        ("https://hub.example/a", "/b", "https://hub.example/b", True),
        ("https://hub.example/a", "https://hub.example:443/b", "https://hub.example:443/b", True),
        ("https://hub.example/a", "https://cdn.example/b", "https://cdn.example/b", False),
        ("https://hub.example/a", "https://hub.example:444/b", "https://hub.example:444/b", False),
        ("http://127.0.0.1:1/a", "http://localhost:1/b", "http://localhost:1/b", False),
        ("http://127.0.0.1:1/a", "https://cdn.example/b", "https://cdn.example/b", False),
        ("http://mirror.example/a", "http://mirror.example/b", "http://mirror.example/b", True),
    ],
)
def test_a_redirect_takes_the_token_only_to_the_same_host(
    url: str, location: str, leads_to: str, keeps_token: bool
) -> None:
    assert next_hop(Remote(url, TOKEN), location) == Remote(leads_to, TOKEN if keeps_token else REST)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://hub.example/a", "http://hub.example/b"),
        ("https://hub.example/a", "http://127.0.0.1/b"),
        ("http://127.0.0.1/a", "http://cdn.example/b"),
        ("https://hub.example/a", "file:///etc/passwd"),
        ("https://hub.example/a", "ftp://hub.example/b"),
    ],
)
def test_a_redirect_to_something_unencrypted_is_refused(url: str, location: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        next_hop(Remote(url), location)
    assert caught.value.code == "source-not-allowed"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("a.b", False)],
)
def test_this_machine_is_known_by_its_names(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("scheme", "asks"),
    [
        ("http", b"GET http://models.example/a?b=1 HTTP/1.1"),
        ("https", b"CONNECT models.example:443 HTTP/1."),
    ],
)
def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, scheme: str, asks: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://ann:p%40ss@127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        heard: list[bytes] = []

        def answer() -> None:
            line, _ = proxy.accept()
            with line:
                heard.append(line.recv(65_536))

        thread = threading.Thread(target=answer)
        thread.start()
        line = Line(5)
        with pytest.raises(OSError):
            line.get(Remote(f"{scheme}://models.example/a?b=1"), {})
        line.close()
        thread.join()
    assert heard[0].startswith(asks)
    assert b"Proxy-Authorization: Basic YW5uOnBAc3M=" in heard[0]
