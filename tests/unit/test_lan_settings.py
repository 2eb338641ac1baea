"""The box on the network, as settings: its name, what follows from it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config.addresses import Addresses, addresses, is_loopback
from appliance.config.load import parse
from appliance.control import exposure
from appliance.errors import ApplianceError
from appliance.lan.naming import heard, is_ours_to_tell

ON = "[identity]\nenabled = true\n[lan]\nenabled = true\n"


def parsed(text: str) -> Addresses:
    """The addresses that follow from a settings file."""
    return addresses(parse(text, Path("appliance.toml")))


def refused(text: str) -> str:
    """Why a settings file is refused."""
    with pytest.raises(ApplianceError) as caught:
        parse(text, Path("appliance.toml"))
    assert caught.value.code == "config-bad-value"
    return caught.value.sentence


def test_without_a_network_all_addresses_are_of_this_machine() -> None:
    assert parsed("") == Addresses("http://127.0.0.1:8080/v1")
    assert parsed('[gateway]\nhost = "::1"\n').api == "http://[::1]:8080/v1"
    assert parsed("[identity]\nenabled = true\n").issuer == "http://127.0.0.1:8085"


def test_on_the_network_all_addresses_follow_from_one_name() -> None:
    assert parsed(ON) == Addresses(
        "https://ai.local/v1", "https://ai.local:8444", "", "https://ai.local", "http://ai.local/trust"
    )


def test_ports_that_browsers_do_not_assume_are_named() -> None:
    text = ON + 'host = "ki.firma.example"\nhttps_port = 8443\nhttp_port = 8080\nsign_on_port = 9000\n'
    assert parsed(text) == Addresses(
        "https://ki.firma.example:8443/v1",
        "https://ki.firma.example:9000",
        "",
        "https://ki.firma.example:8443",
        "http://ki.firma.example:8080/trust",
    )


def test_the_chat_page_stands_where_people_come_to() -> None:
    chat = "[chat]\nenabled = true\n"
    assert parsed(ON.replace("[lan]", f"{chat}[lan]")).chat == "https://ai.local"
    assert "it is https://ai.local" in refused(ON.replace("[lan]", f'{chat}url = "https://chat.local"\n[lan]'))
    assert parsed(f"[identity]\nenabled = true\n{chat}").chat == "http://127.0.0.1:8090"


def test_sign_on_is_needed_and_has_no_address_of_its_own_choice() -> None:
    assert "set `enabled = true` under [identity]" in refused("[lan]\nenabled = true\n")
    assert "it is https://ai.local:8444" in refused(ON.replace("[lan]", 'url = "https://other.example"\n[lan]'))
    assert parsed(ON.replace("[lan]", 'url = "https://ai.local:8444"\n[lan]')).issuer == "https://ai.local:8444"


@pytest.mark.parametrize("host", ["ai", "AI.local", "192.168.1.5", "ai..local", "-ai.local", "ai.local.", "a b.local"])
def test_a_name_that_is_none_is_refused(host: str) -> None:
    assert "`host` must be a name" in refused(f'{ON}host = "{host}"\n')


def test_addresses_and_ports_are_checked() -> None:
    assert "`address` must be an IP address" in refused(f'{ON}address = "eth0"\n')
    assert "three different ports" in refused(f"{ON}https_port = 80\n")
    # What is wrong in [lan] is told as that, and not as a fault of [identity].
    assert "lan" in refused(f"{ON}https_port = 0\n")


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.3.2.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.1.5", False), ("box", False)],
)  # fmt: skip
def test_only_loopback_is_this_machine_alone(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone
    settings = parse(f'[gateway]\nhost = "{host}"\n', Path("appliance.toml"))
    if alone:
        exposure.check(settings)
        return
    with pytest.raises(ApplianceError) as caught:
        exposure.check(settings)
    assert caught.value.code == "lan-insecure"
    assert "insecure_lan = true" in caught.value.hint
    exposure.check(parse(f'[gateway]\nhost = "{host}"\ninsecure_lan = true\n', Path("appliance.toml")))


def test_nobody_comes_from_the_network_before_somebody_owns_the_box() -> None:
    settings = parse(ON, Path("appliance.toml"))
    exposure.check_owner(settings, 1)
    exposure.check_owner(parse("", Path("appliance.toml")), 0)
    with pytest.raises(ApplianceError) as caught:
        exposure.check_owner(settings, 0)
    assert caught.value.code == "lan-needs-owner"


@pytest.mark.parametrize(
    ("host", "machine", "ours"),
    [("ai.local", "server", True), ("server.local", "server", False), ("server.local", "Server.firma.example", False),
     ("ai.firma.example", "server", False), ("ki.ai.local", "server", True)],
)  # fmt: skip
def test_only_names_that_nobody_else_makes_known_are_ours_to_tell(host: str, machine: str, ours: bool) -> None:
    assert is_ours_to_tell(host, machine) is ours


@pytest.mark.parametrize(
    ("line", "said"),
    [("Established under name 'ai.local'", "known"), ("Established under name 'AI.local'", "known"),
     ("Established under name 'ai-2.local'", "taken"), ("Name collision, picking new name 'ai-2.local'.", "taken"),
     ("Failed to add address: Local name collision", "taken"), ("Disconnected, reconnecting ...", ""), ("", "")],
)  # fmt: skip
def test_what_avahi_says_is_understood(line: str, said: str) -> None:
    assert heard(line, "ai.local") == said
