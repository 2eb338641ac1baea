"""`appliance clients` and `appliance identity`: programs that people sign in to, and the process that signs them in."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from appliance.accounts import clients
from appliance.errors import ApplianceError
from appliance.store.sessions import session
from tests.support.box import Box
from tests.support.sign_on import Browser, Program, SignOn

REDIRECT = "https://wiki.example.com/callback"


@pytest.mark.slow
def test_a_program_is_registered_listed_and_removed(box: Box) -> None:
    made = box.document("clients", "add", "Wiki", "--redirect", REDIRECT, "--device")
    assert made["secret"].startswith("aps-")
    assert made["issuer"] == "http://127.0.0.1:8085"
    with closing(sqlite3.connect(box.state / "appliance.db")) as connection:
        assert made["secret"] not in "".join(connection.iterdump())
    listed = box.document("clients", "list")
    assert [(one["name"], one["flows"], one["redirects"]) for one in listed] == [
        ("Wiki", ["code", "device"], [REDIRECT])
    ]
    assert "secret" not in listed[0]
    assert box.document("clients", "remove", "Wiki", code=4)["error"]["code"] == "needs-yes"
    assert "Would remove" in box.run("clients", "remove", "Wiki", "--dry-run").stderr
    assert box.document("clients", "remove", made["id"], "--yes")["removed"]
    assert box.document("clients", "remove", "Wiki", "--yes", code=2)["error"]["code"] == "client-not-found"
    actions = [one["action"] for one in box.document("audit", "tail")]
    assert actions.count("client-added") == actions.count("client-removed") == 1


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({}, "how this program gets its tokens"),
        ({"redirects": ["wiki.example.com"]}, "whole address"),
        ({"redirects": ["http://wiki.example.com/cb"]}, "https://"),
        ({"redirects": [f"{REDIRECT}#x"]}, "whole address"),
        ({"redirects": ["https://user@wiki.example.com/"]}, "whole address"),
        ({"redirects": ["https://wiki.example.com/a b"]}, "whole address"),
        ({"redirects": ["javascript:alert(1)"]}, "whole address"),
        ({"redirects": [REDIRECT], "backchannel": "ftp://x"}, "whole address"),
        ({"flows": ["service"], "public": True}, "no secret"),
    ],
)
def test_a_program_that_could_not_be_safe_is_refused(tmp_path: Path, terms: dict[str, Any], words: str) -> None:
    with session(tmp_path / "a.db") as opened, pytest.raises(ApplianceError) as refused:
        clients.add(opened, "Wiki", **terms)
    assert refused.value.code == "wrong-use"
    assert words in refused.value.sentence


def test_two_programs_have_two_names(tmp_path: Path) -> None:
    with session(tmp_path / "a.db") as opened:
        clients.add(opened, "Wiki", redirects=[REDIRECT])
        with pytest.raises(ApplianceError) as refused:
            clients.add(opened, "Wiki", redirects=[REDIRECT])
        assert refused.value.code == "wrong-use"


def test_a_program_that_is_removed_has_no_tokens_any_more(sign_on: SignOn, anna: Browser) -> None:
    shop = Program(sign_on, sign_on.client("Shop", redirects=["http://127.0.0.1:9/callback"]))
    tokens = shop.tokens(anna)
    sign_on.box.run("clients", "remove", "Shop", "--yes")
    assert sign_on.box.get("/v1/models", tokens["access_token"])[2]["error"]["code"] == "key-refused"
    assert shop.refresh(tokens["refresh_token"]).json["error"] == "invalid_client"


@pytest.mark.slow
def test_sign_on_says_why_it_does_not_start(box: Box) -> None:
    assert "(sign-on-off)" in box.run("identity", code=1).stderr
    found = SignOn(box)
    box.configure(found.settings)
    found.start()
    assert "(already-serving)" in box.run("identity", "--port", "1", code=1).stderr
    found.stop()
    (box.state / "secrets/signing-keys.json").write_text("[]")
    assert "(signing-keys-bad)" in box.run("identity", code=1).stderr


def test_a_mistake_is_on_the_page_in_words_and_in_the_log_by_its_code(sign_on: SignOn, wiki: Program) -> None:
    said = sign_on.ask("GET", wiki.request(redirect_uri="http://127.0.0.1:9/"))
    assert (said.status, "redirect_uri" in said.text) == (400, True)
    said = sign_on.ask("POST", "/sign-in", {"email": "a"})
    assert (said.status, "open for too long" in said.text) == (403, True)
    said = sign_on.ask("POST", "/token", {"a": "b"}, {"Content-Type": "application/json"})
    assert (said.status, said.json["error"], said.json["code"]) == (400, "invalid_request", "form-not-understood")
    log = (sign_on.box.folder / "identity.log").read_text()
    assert all(f'"code":"{code}"' in log for code in ("program-refused", "form-not-ours"))
