"""What Caddy is told, whole and by its rules; and the pages that it serves by itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.config.addresses import Addresses
from appliance.config.lan import LanSettings
from appliance.lan import pages
from appliance.lan.authority import Authority
from appliance.lan.caddy import COOKIES, Site, Text, config

GOLDEN = Path(__file__).with_name("lan_caddy.json")
LAN = LanSettings(enabled=True)
AUTHORITY = Authority(
    "ai.local", "PEM", "AB:CD", "12:34", "AI appliance ai.local 2026", datetime(2036, 1, 1, tzinfo=UTC)
)
SITE = Site(
    gateway="unix//run/gateway.sock",
    identity="unix//run/identity.sock",
    chat="127.0.0.1:8090",
    largest=200 * 1024**2,
    storage="/state/lan/ai.local/caddy",
    root="/state/lan/ai.local/root.crt",
    key="/state/lan/ai.local/root.key",
    health="unix//run/lan.sock",
    home=(Text("/", "text/html", "home"),),
    texts=(Text("/ca.crt", "application/x-x509-ca-cert", "PEM"), Text("/trust", "text/html", "vertrauen", "de")),
    away="away\n",
)


def handlers(found: Any, name: str) -> list[dict[str, Any]]:
    """All handlers of a kind, wherever they are."""
    if isinstance(found, list):
        return [one for part in found for one in handlers(part, name)]
    if not isinstance(found, dict):
        return []
    mine = [found] if found.get("handler") == name else []
    return mine + [one for part in found.values() for one in handlers(part, name)]


def test_what_caddy_is_told_is_what_was_agreed() -> None:
    """After a change that is meant: write the new text into the file, and read the difference."""
    found = json.dumps(config(LAN, SITE), indent=1) + "\n"
    assert found == GOLDEN.read_text()


def test_it_listens_nowhere_else_and_takes_no_commands() -> None:
    found = config(LAN, SITE)
    assert found["admin"]["disabled"] is True
    servers = found["apps"]["http"]["servers"]
    assert {name: one["listen"] for name, one in servers.items()} == {
        "page": [":443"], "sign_on": [":8444"], "plain": [":80"], "health": ["unix//run/lan.sock"],
    }  # fmt: skip
    assert all(one["automatic_https"] == {"disable": True} for one in servers.values())
    assert found["apps"]["pki"]["certificate_authorities"]["local"]["install_trust"] is False


@pytest.mark.parametrize(("address", "listens"), [("192.168.1.5", "192.168.1.5:443"), ("fd00::5", "[fd00::5]:443")])
def test_one_network_card_may_be_enough(address: str, listens: str) -> None:
    found = config(LAN.model_copy(update={"address": address}), SITE)
    assert found["apps"]["http"]["servers"]["page"]["listen"] == [listens]


@pytest.mark.parametrize("chat", ["", "127.0.0.1:8090"])
def test_nothing_is_held_back_or_compressed_on_its_way(chat: str) -> None:
    found = config(LAN, replace(SITE, chat=chat))
    proxies = handlers(found, "reverse_proxy")
    assert len(proxies) == (3 if chat else 2)
    assert {one["flush_interval"] for one in proxies} == {-1}
    assert {one["transport"]["compression"] for one in proxies} == {False}
    assert handlers(found, "encode") == []
    # Whoever a client says that it is, is thrown away: no proxy is trusted to know better.
    assert [one for one in proxies if "trusted_proxies" in one] == []


def test_only_files_whose_names_change_with_their_content_come_from_the_folder() -> None:
    found = config(LAN, replace(SITE, assets="/env/{frontend}", policy="default-src 'self'"))
    (files,) = handlers(found, "file_server")
    assert files["root"] == "/env/\\{frontend}", "no placeholder of Caddy's"
    page = found["apps"]["http"]["servers"]["page"]["routes"][0]["handle"][1]["routes"]
    (route,) = [one for one in page if handlers(one, "file_server")]
    assert route["match"] == [{"path": ["/_app/immutable/*"]}]
    # Answers that stream are never held back: nothing is packed but these files.
    assert len(handlers(found, "encode")) == len(handlers(route, "encode")) == 1
    assert handlers(config(LAN, replace(SITE, chat="", assets="/env")), "file_server") == []


def test_metrics_and_all_else_of_the_gateway_are_not_on_the_network() -> None:
    found = config(LAN, replace(SITE, chat=""))
    page = found["apps"]["http"]["servers"]["page"]["routes"][0]
    paths = [one["match"][0]["path"] for one in page["handle"][1]["routes"] if handlers(one, "reverse_proxy")]
    assert paths == [["/v1", "/v1/*"]]


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (f"{COOKIES}session=abc", ""),
        (f"token=1; {COOKIES}session=abc; theme=dark", "token=1; theme=dark"),
        (f"{COOKIES}form=a; {COOKIES}device=b; token=1", "token=1"),
        ("token=1; theme=dark", "token=1; theme=dark"),
    ],
)
def test_cookies_of_sign_on_are_cut_out_of_what_the_chat_page_gets(sent: str, left: str) -> None:
    rules = [
        one["request"]["replace"]["Cookie"][0] for one in handlers(config(LAN, SITE), "headers") if "request" in one
    ]
    assert len(rules) == 1
    assert re.sub(rules[0]["search_regexp"], rules[0]["replace"], sent).strip("; ") == left


def test_the_pages_speak_each_language_and_say_the_same() -> None:
    words = pages.words()
    assert {"en", "de"} <= set(words)
    for tag, say in words.items():
        assert say.keys() == words["en"].keys(), tag
        for device in pages.DEVICES:
            assert len(say[device]["steps"]) == len(words["en"][device]["steps"]), (tag, device)


def test_the_page_about_the_certificate_tells_all_that_is_needed() -> None:
    found = {(one.path, one.language): one for one in pages.trust(LAN, AUTHORITY)}
    assert found["/ca.crt", ""].body == "PEM"
    assert found["/trust", "de"].body == found["/trust/de", ""].body
    for path in ("/trust", "/trust/de"):
        text = found[path, ""].body
        assert "AB:CD" in text
        assert "12:34" in text
        assert text.count("<details>") == 6
        assert 'href="https://ai.local"' in text
        assert "<script" not in text
        assert "style=" not in text
    assert 'lang="de"' in found["/trust", "de"].body


def test_the_wish_for_a_language_comes_before_the_default() -> None:
    """Routes are tried in their order."""
    order = [one.language for one in pages.trust(LAN, AUTHORITY) if one.path == "/trust"]
    assert order[-1] == ""
    assert "" not in order[:-1]


def test_without_a_chat_page_it_says_what_is_here() -> None:
    text = {one.path: one.body for one in pages.home(LAN, Addresses("API", "ISSUER", "PAGE", "TRUST"))}["/"]
    assert 'href="ISSUER/"' in text
    assert "API" in text
