"""The whole box on the network: real Caddy, gateway and sign-on, reached by name with the box's own certificate."""

from __future__ import annotations

import json
import os
import signal
import ssl
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from appliance.policy.roles import Role
from tests.support.box import Box, ask, wait_until
from tests.support.engines import FakeEngine
from tests.support.lan import Network, NetworkSignOn
from tests.support.people import PASSWORD
from tests.support.programs import need
from tests.support.sign_on import Browser, Program, SignOn

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[Network]:
    """A box on the network, brought there by `up`."""
    need("caddy", "caddy")
    found = Network(Box(tmp_path_factory.mktemp("lan")))
    found.box.configure(f'{found.settings}[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    people(found)
    found.box.run("up", "--no-prove")
    yield found
    found.box.run("down")


@pytest.fixture
def sign_on(network: Network) -> NetworkSignOn:
    """Its sign-on."""
    return NetworkSignOn(network.box, network.sign_on_port, network=network)


def people(network: Network) -> None:
    """An owner, and somebody else."""
    made = NetworkSignOn(network.box, network=network)
    made.person("olga", Role.OWNER)
    made.person("anna")


def test_status_says_where_everything_is(network: Network) -> None:
    found = network.box.document("status")
    assert found["healthy"], found["problems"]
    assert found["urls"] == {
        "api": f"{network.origin}/v1",
        "issuer": f"https://{network.host}:{network.sign_on_port}",
        "page": network.origin,
        "trust": f"http://{network.host}:{network.http_port}/trust",
    }
    assert [one["name"] for one in found["processes"]] == ["serve", "identity", "lan"]
    assert network.origin in network.box.run("status").stdout


def test_a_device_that_trusts_the_exported_certificate_gets_answers(network: Network, tmp_path: object) -> None:
    exported = network.box.run("ca", "export").stdout
    shown = network.box.document("ca", "show")
    assert network.plain("/ca.crt").text == exported == network.box.document("ca", "export")["pem"]
    assert shown["fingerprint"] in network.plain("/trust").text
    assert shown["fingerprint"] in network.box.run("ca", "show").stdout
    key = network.box.key()
    said = network.ask("POST", "/v1/chat/completions", ask("tokens=3"), {"Authorization": f"Bearer {key}"})
    assert said.status == 200
    assert said.json["choices"][0]["message"]["content"] == "word word word "


def test_a_device_that_does_not_trust_it_refuses(network: Network) -> None:
    nobody = ssl.create_default_context()
    with pytest.raises(ssl.SSLCertVerificationError):
        network.secure(network.https_port, nobody)
    with pytest.raises(ssl.SSLError):
        network.secure(network.https_port, name="other.example.test")


def test_old_tls_is_refused(network: Network) -> None:
    old = network.trusting()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        network.secure(network.https_port, old)


def test_an_answer_that_streams_arrives_piece_by_piece(network: Network) -> None:
    """The engine takes 1.5 s for the rest, and the first words are here before."""
    key, made = network.box.key(), network.connection(network.https_port)
    body = json.dumps(ask("tokens=15 delay=100", stream=True))
    made.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
    response = made.getresponse()
    assert response.status == 200, response.read()
    came: list[tuple[float, bytes]] = []
    while line := response.readline():
        if line.startswith(b"data:"):
            came.append((time.monotonic(), line))
    made.close()
    words = [at for at, line in came if b"word" in line]
    assert len(words) == 15, came
    assert came[-1][1].strip() == b"data: [DONE]"
    assert words[-1] - words[0] > 1.0
    assert sum(later - before > 0.03 for before, later in pairwise(words)) >= 10


def test_refusals_pass_unchanged(network: Network) -> None:
    said = network.ask("GET", "/v1/models")
    direct = network.box.get("/v1/models")
    assert (said.status, direct[0]) == (401, 401)
    assert said.json["error"]["code"] == direct[2]["error"]["code"] == "key-missing"
    assert said.headers["www-authenticate"] == direct[1]["www-authenticate"] == "Bearer"
    assert "server" not in said.headers


def test_what_is_not_for_the_network_is_not_there(network: Network) -> None:
    key = network.box.key()
    for path in ("/metrics", "/ready", "/health", "/openapi.json", "/v2"):
        assert network.ask("GET", path, headers={"Authorization": f"Bearer {key}"}).status == 404, path
    assert network.ask("GET", "/", headers={"Host": "elsewhere.example"}).status == 421


@pytest.mark.parametrize("path", ["/", "/trust", "/v1/models", "/trust.css"])
def test_safe_headers_are_on_every_answer(network: Network, path: str) -> None:
    said = network.ask("GET", path)
    assert said.headers["strict-transport-security"] == "max-age=604800"
    assert said.headers["x-content-type-options"] == "nosniff"
    assert "server" not in said.headers


def test_without_encryption_people_are_sent_on_and_nowhere_else(network: Network) -> None:
    said = network.plain("/c/1?a=b", {"Host": "elsewhere.example"})
    assert (said.status, said.location) == (308, f"{network.origin}/c/1?a=b")
    assert network.plain("//elsewhere.example/").location.startswith(f"{network.origin}/")
    assert "strict-transport-security" not in said.headers


def test_the_page_about_the_certificate_needs_no_trust_yet(network: Network) -> None:
    english, german = network.plain("/trust"), network.plain("/trust", {"Accept-Language": "de-AT,en;q=0.5"})
    assert (english.status, german.status) == (200, 200)
    assert 'lang="en"' in english.text
    assert 'lang="de"' in german.text
    assert german.text == network.plain("/trust/de").text
    assert "default-src 'none'" in english.headers["content-security-policy"]
    style = network.plain("/trust.css")
    assert (style.status, "{ box-sizing: border-box; }" in style.text) == (200, True)
    assert network.plain("/ca.crt").headers["content-type"] == "application/x-x509-ca-cert"


def test_people_sign_in_with_cookies_that_only_sign_on_can_set(network: Network, sign_on: NetworkSignOn) -> None:
    wiki = Program(sign_on, sign_on.client("Wiki", redirects=["https://wiki.example.com/callback"]))
    browser = Browser(sign_on)
    wiki.redirect = "https://wiki.example.com/callback"
    assert browser.sign_in("anna@example.com", PASSWORD).location == "/"
    assert {name.partition("appliance-")[0] for name in browser.cookies} == {"__Host-"}
    tokens = wiki.tokens(browser)
    assert network.ask("GET", "/v1/models", headers={"Authorization": f"Bearer {tokens['access_token']}"}).status == 200
    assert "Anna" in browser.get("/").text
    found = sign_on.ask("GET", "/.well-known/openid-configuration").json
    assert found["issuer"] == sign_on.issuer
    assert found["token_endpoint"].startswith(f"{sign_on.issuer}/")


def test_a_program_on_this_machine_cannot_say_from_where_it_comes(network: Network, sign_on: NetworkSignOn) -> None:
    """At its TCP port nobody is believed, since others come by the UNIX socket alone."""
    near = SignOn(network.box, network.identity_port)
    said = []
    for place in range(8):
        browser = Browser(near, headers={"X-Forwarded-For": f"10.1.{place}.1"})
        said.append(browser.sign_in("bert@example.com", f"wrong-{place}-password").status)
    assert said[-1] == 429, said


def test_sign_on_is_not_on_the_chat_pages_origin(network: Network) -> None:
    for path in ("/sign-in", "/token", "/.well-known/openid-configuration"):
        assert network.ask("GET", path).status == 404


def test_a_client_cannot_say_from_where_it_comes(network: Network) -> None:
    """A key that is bound to another address is refused, whatever header comes with it."""
    away = network.box.document("keys", "create", "--owner", "anna", "--address", "10.9.8.0/24")["key"]
    near = network.box.document("keys", "create", "--owner", "anna", "--address", "127.0.0.1")["key"]
    lies = {"X-Forwarded-For": "10.9.8.7", "X-Real-IP": "10.9.8.7", "Forwarded": "for=10.9.8.7"}
    for key, status in ((away, 403), (near, 200)):
        headers = {"Authorization": f"Bearer {key}", **lies}
        assert network.ask("GET", "/v1/models", headers=headers).status == status
        # Nor where it comes to the gateway itself, from this machine.
        assert network.box.request("GET", "/v1/models", None, key, lies)[0] == status


def test_guesses_are_counted_by_the_address_of_the_connection(network: Network, sign_on: NetworkSignOn) -> None:
    """Another address in each try would otherwise allow any number of them."""
    said = []
    for place in range(8):
        browser = Browser(sign_on, headers={"X-Forwarded-For": f"10.0.{place}.1"})
        said.append(browser.sign_in("olga@example.com", f"wrong-{place}-password").status)
    assert said[-1] == 429, said


def test_killed_it_comes_back_with_the_same_certificate(network: Network) -> None:
    def processes() -> dict[str, dict[str, object]]:
        return {one["name"]: one for one in network.box.document("status", code=None)["processes"]}

    def again() -> bool:
        try:
            return network.plain("/trust").status == network.ask("GET", "/").status == 200
        except OSError:
            return False

    before = network.plain("/ca.crt").text
    pid = processes()["lan"]["pid"]
    assert isinstance(pid, int)
    os.kill(pid, signal.SIGKILL)
    wait_until(again, 30, "Caddy's return")
    assert network.plain("/ca.crt").text == before
    wait_until(lambda: processes()["lan"]["restarts"] == 1, 30, "the supervisor's report")


def test_what_browsers_are_shown_is_replaced_and_devices_trust_it_all_the_same(network: Network) -> None:
    def shown() -> bytes:
        with network.secure(network.https_port) as line:
            found = line.getpeercert(binary_form=True)
            assert found is not None
            return found

    before, root = shown(), network.plain("/ca.crt").text
    assert "certificate" in network.box.document("secrets", "rotate")["replaced"]
    assert shown() != before
    assert network.plain("/ca.crt").text == root
    assert network.ask("GET", "/").status == 200
