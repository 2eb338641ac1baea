"""What `up` refuses before anybody can come from the network, and the one next step that it names."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.control.up import up
from appliance.errors import ApplianceError
from appliance.policy.roles import Role
from tests.support.box import Box
from tests.support.engines import FakeEngine
from tests.support.lan import Network, NetworkSignOn
from tests.support.programs import need

pytestmark = pytest.mark.slow


@pytest.fixture
def network(box: Box, fake_engine: FakeEngine) -> Network:
    """A box that is to be on the network, with nobody who owns it."""
    found = Network(box)
    box.configure(f'{found.settings}[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    return found


def refusal(network: Network, *words: str) -> dict[str, str]:
    """Why a command is refused."""
    found = network.box.document(*(words or ("up", "--no-prove")), code=None)
    assert "error" in found
    assert network.box.document("status", code=None)["supervisor"] is None
    return dict(found["error"])


def test_nobody_owns_the_box(network: Network) -> None:
    need("caddy", "caddy")
    found = refusal(network)
    assert found["code"] == "lan-needs-owner"
    assert "users add" in found["hint"]
    # One who cannot sign in does not count, and neither does an admin.
    NetworkSignOn(network.box, network=network).person("olga", Role.OWNER, password="")
    NetworkSignOn(network.box, network=network).person("bert", Role.ADMIN)
    assert refusal(network)["code"] == "lan-needs-owner"


def test_caddy_is_not_installed(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.control.lan._ALSO", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ApplianceError) as caught:
        up(network.home, load(network.box.config), lambda report: None)
    assert caught.value.code == "caddy-missing"
    assert caught.value.hint == "sudo apt-get install caddy"


def test_avahi_is_not_installed(box: Box, fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(box, host="ai-of-a-test.local")
    box.configure(f'{network.settings}[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    only = box.folder / "bin"
    only.mkdir()
    (only / "caddy").write_text("#!/bin/sh\n")
    (only / "caddy").chmod(0o755)
    monkeypatch.setattr("appliance.control.lan._ALSO", "/nonexistent")
    monkeypatch.setenv("PATH", str(only))
    with pytest.raises(ApplianceError) as caught:
        up(network.home, load(box.config), lambda report: None)
    assert caught.value.code == "avahi-missing"
    assert "avahi-utils" in caught.value.hint


@pytest.mark.parametrize("name", ["https_port", "sign_on_port", "http_port"])
def test_a_port_is_taken(network: Network, name: str) -> None:
    need("caddy", "caddy")
    with socket.socket() as other:
        other.bind(("127.0.0.1", getattr(network, name)))
        other.listen()
        found = refusal(network)
    assert found["code"] == "port-taken"
    assert f"lan.{name}" in found["hint"]


def test_a_port_below_1024_is_not_for_everybody(network: Network) -> None:
    need("caddy", "caddy")
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if lowest <= 443:
        pytest.skip("everybody may listen there on this machine")
    network.https_port = 443
    network.box.config.write_text(network.box.config.read_text().replace("\nhttps_port = ", "\nhttps_port = 443 # "))
    # Root may, unless that right is taken away.
    before = ("setpriv", "--bounding-set=-net_bind_service") if os.geteuid() == 0 else ()
    found = json.loads(network.box.run("up", "--no-prove", "--json", code=None, before=before).stdout)["error"]
    assert found["code"] == "port-not-allowed"
    assert "sysctl" in found["hint"]
    assert "lan.https_port, such as 8443" in found["hint"]


def test_the_gateway_alone_does_not_listen_to_others_without_encryption(network: Network) -> None:
    network.box.configure('host = "0.0.0.0"\n')
    for words in (("up", "--no-prove"), ("serve",)):
        done = network.box.run(*words, code=2)
        assert "lan-insecure" in done.stderr
        assert "insecure_lan = true" in done.stderr


def test_a_certificate_is_shown_once_there_is_one(network: Network) -> None:
    found = refusal(network, "ca", "show")
    assert found["code"] == "ca-missing"
