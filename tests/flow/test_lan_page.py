"""Caddy as we tell it to be, before a chat page: nothing held back, nothing let through that is not its business."""

from __future__ import annotations

import gzip
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from cryptography import x509

from appliance.chat.environment import content_policy
from appliance.control import lan
from appliance.lan import caddy
from tests.support.box import Box, environment, wait_until
from tests.support.lan import Front, Network
from tests.support.programs import need

pytestmark = pytest.mark.slow

# Long enough to be worth packing.
SCRIPT = "export const words = 'of a page';\n" * 100


@pytest.fixture(scope="module")
def page() -> Iterator[int]:
    """The port of a chat page that tells what reached it."""
    program = [sys.executable, "-m", "tests.support.fake_page"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    yield int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, page: int) -> Iterator[Network]:
    """Caddy with certificates of a few seconds."""
    program = need("caddy", "caddy")
    found = Network(Box(tmp_path_factory.mktemp("lan_page")))
    found.box.configure(f'max_file = "1 MiB"\n{found.settings}')
    assets = found.box.folder / "frontend" / "_app" / "immutable"
    assets.mkdir(parents=True)
    (assets / "one.js").write_text(SCRIPT)
    (found.box.folder / "frontend" / "secret.txt").write_text("not asked for")
    front = Front(found, f"127.0.0.1:{page}", str(found.box.folder / "frontend"), caddy.Times(lifetime="6s", look="1s"))
    front.start(program)
    wait_until(lambda: serial(found), 20, "the first certificate")
    yield found
    front.stop()


def serial(network: Network) -> int:
    """The number of the certificate that is shown now; 0 before there is one. It must be good at this moment."""
    try:
        with network.secure(network.https_port) as connection:
            shown = connection.getpeercert(binary_form=True)
            assert shown is not None
            return x509.load_der_x509_certificate(shown).serial_number
    except ssl.SSLError:
        return 0


def test_caddy_takes_what_it_is_told(network: Network) -> None:
    told = caddy.config(network.loaded().lan, lan.site(network.home, network.loaded()))
    file = network.box.folder / "told.json"
    file.write_text(json.dumps(told))
    command = [need("caddy", "caddy"), "validate", "--config", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Valid configuration" in done.stdout, done.stderr


def test_programs_of_the_page_come_from_its_folder_packed_and_are_kept_for_a_year(network: Network) -> None:
    said = network.ask("GET", "/_app/immutable/one.js", headers={"Accept-Encoding": "gzip"})
    assert said.status == 200
    assert gzip.decompress(said.body).decode() == SCRIPT
    assert said.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert said.headers["content-type"].startswith("text/javascript")
    # A worker has the policy that its own file comes with.
    assert said.headers["content-security-policy"] == content_policy(network.origin)
    again = network.ask("GET", "/_app/immutable/one.js", headers={"If-None-Match": said.headers["etag"]})
    assert again.status == 304


@pytest.mark.parametrize(
    "path",
    [
        "/_app/immutable/none.js",
        "/_app/immutable/",
        "/_app/immutable/../../secret.txt",
        "/_app/immutable/%2e%2e/%2e%2e/secret.txt",
    ],
)
def test_what_is_not_among_them_is_not_there_and_nobody_remembers_that(network: Network, path: str) -> None:
    said = network.ask("GET", path)
    assert said.status in (400, 404), said.text
    assert "not asked for" not in said.text
    assert "immutable" not in said.headers.get("cache-control", "")


@pytest.mark.parametrize(
    ("path", "cookie", "sent"),
    [
        ("/", "", True),
        ("/", "theme=dark; mytoken=1", True),
        ("/", "theme=dark; token=abc", False),
        ("/", "token=abc", False),
        ("/?q=hello", "", False),
        ("/c/a-conversation", "", False),
        ("/auth", "", False),
    ],
)
def test_whoever_comes_without_being_signed_in_is_sent_to_sign_on_at_once(
    network: Network, path: str, cookie: str, sent: bool
) -> None:
    said = network.ask("GET", path, headers={"Cookie": cookie} if cookie else {})
    assert (said.status == 302) is sent
    if sent:
        assert (said.location, said.headers["cache-control"]) == ("/oauth/oidc/login", "no-store")


def test_certificates_are_renewed_while_it_runs(network: Network) -> None:
    """Each is good for six seconds, and at every moment one that is good is shown."""
    numbers: set[int] = set()
    deadline = time.monotonic() + 60
    while len(numbers) < 4:
        found = serial(network)
        assert found, "no certificate that is good"
        numbers.add(found)
        assert time.monotonic() < deadline, f"{len(numbers)} certificates in a minute"


def test_the_page_learns_who_comes_and_nothing_of_sign_on(network: Network) -> None:
    sent = {
        "Cookie": "token=1; __Host-appliance-session=secret; theme=dark",
        "X-Forwarded-For": "10.9.8.7",
        "X-Forwarded-Host": "elsewhere.example",
        "X-Forwarded-Proto": "http",
    }
    came = network.ask("GET", "/seen", headers=sent).json
    assert came["x-forwarded-for"] == "127.0.0.1"
    assert came["x-forwarded-proto"] == "https"
    assert came["x-forwarded-host"] == f"{network.host}:{network.https_port}"
    assert "secret" not in json.dumps(came)
    assert "token=1" in came["cookie"]
    assert "theme=dark" in came["cookie"]
    assert "accept-encoding" not in came or came["accept-encoding"] == "identity"


def test_the_page_cannot_set_a_cookie_of_sign_on(network: Network) -> None:
    assert [one for one in network.ask("GET", "/cookies").cookies if one] == ["token=1; Path=/; Secure"]


def test_a_policy_of_the_page_goes_on_to_hold(network: Network) -> None:
    made = network.connection(network.https_port)
    made.request("GET", "/policy")
    found = made.getresponse().getheaders()
    made.close()
    policies = [value for name, value in found if name.lower() == "content-security-policy"]
    assert sorted(policies) == ["default-src 'self'", "frame-ancestors 'self'"]
    headers = {name.lower(): value for name, value in found}
    assert headers["referrer-policy"] == "same-origin"
    assert headers["strict-transport-security"] == "max-age=604800"
    assert "server" not in headers


def test_what_is_packed_passes_as_it_is(network: Network) -> None:
    said = network.ask("GET", "/packed", headers={"Accept-Encoding": "gzip"})
    assert said.headers["content-encoding"] == "gzip"
    assert said.body[:2] == b"\x1f\x8b"
    assert "content-encoding" not in network.ask("GET", "/seen", headers={"Accept-Encoding": "gzip, br"}).headers


def test_events_come_when_they_are_sent(network: Network) -> None:
    made, came = network.connection(network.https_port), []
    made.request("GET", "/slow")
    response = made.getresponse()
    while line := response.readline():
        if line.startswith(b"data"):
            came.append(time.monotonic())
    made.close()
    assert len(came) == 5
    assert came[-1] - came[0] > 0.3


def test_uploads_have_a_limit(network: Network) -> None:
    assert network.ask("POST", "/upload", b"x" * 1_000_000).text == "1000000"
    assert network.ask("POST", "/upload", b"x" * 1_100_000).status == 413


def test_a_websocket_passes(network: Network) -> None:
    """RFC 6455 by hand: what a browser sends is masked, here with zeros."""
    asked = (
        f"GET /ws HTTP/1.1\r\nHost: {network.host}:{network.https_port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with network.secure(network.https_port) as connection, connection.makefile("rb") as came:
        connection.sendall(asked.encode())
        assert came.readline().split()[1] == b"101"
        while came.readline().strip():
            pass
        connection.sendall(bytes([0x81, 0x80 | 5]) + bytes(4) + b"hello")
        said = b"you said hello"
        assert came.read(2 + len(said)) == bytes([0x81, len(said)]) + said


def test_a_process_that_is_not_there_is_told_in_words(network: Network) -> None:
    """Neither gateway nor sign-on runs here."""
    program = network.ask("GET", "/v1/models")
    assert (program.status, program.json["error"]["code"]) == (503, "engine-unavailable")
    person = network.ask("GET", "/sign-in", port=network.sign_on_port)
    assert (person.status, person.headers["retry-after"]) == (503, "5")
    assert "try again in a minute" in person.text
