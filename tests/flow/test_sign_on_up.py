"""Sign-on as part of the box: started and kept up with the rest, and people switched off on the command line."""

from __future__ import annotations

import os
import signal

import pytest

from appliance.policy.roles import Role
from tests.support.box import Box, wait_until
from tests.support.engines import FakeEngine
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, Program, SignOn


@pytest.mark.slow
def test_sign_on_is_up_with_the_box_and_whoever_is_disabled_loses_everything(box: Box, fake_engine: FakeEngine) -> None:
    sign_on = SignOn(box)
    box.configure(f'{sign_on.settings}[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    sign_on.person("olga", Role.OWNER)
    sign_on.person("anna")
    found = box.document("up", "--no-prove")
    assert found["urls"]["issuer"] == sign_on.issuer
    assert [one["name"] for one in found["processes"]] == ["serve", "identity"]
    again = box.document("up", "--no-prove")
    assert [one["pid"] for one in again["processes"]] == [one["pid"] for one in found["processes"]]
    wiki = Program(sign_on, sign_on.client("Wiki", redirects=["http://127.0.0.1:9/callback"]))
    anna = Browser(sign_on)
    assert anna.sign_in("anna@example.com", PASSWORD).location == "/"
    tokens = wiki.tokens(anna)
    assert box.get("/v1/models", tokens["access_token"])[0] == 200
    pid = next(one["pid"] for one in found["processes"] if one["name"] == "identity")
    os.kill(pid, signal.SIGKILL)
    assert box.get("/v1/models", tokens["access_token"])[0] == 200
    box.run("users", "disable", "anna@example.com")
    assert box.get("/v1/models", tokens["access_token"])[0] in (401, 403)
    assert sign_on.alive("anna@example.com") == 0
    wait_until(sign_on.answers, 60, "sign-on's return")
    assert wiki.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
    box.run("users", "enable", "anna@example.com")
    assert anna.ask("GET", "/").location == "/sign-in"
    link = box.document("users", "invite", "emma@example.com")["link"]
    assert link.startswith(f"{sign_on.issuer}/welcome/")
    assert "Welcome, Emma" in Browser(sign_on).get(link.removeprefix(sign_on.issuer)).text
    assert "identity" in box.run("status").stdout
