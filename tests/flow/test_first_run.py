"""The first owner: a link on the command line, a page, and no second one."""

from __future__ import annotations

import pytest

from tests.support.box import Box
from tests.support.engines import FakeEngine
from tests.support.sign_on import Browser, SignOn

pytestmark = pytest.mark.slow

PASSWORD = "sieben blaue Gabeln warten"


def test_whoever_opens_the_link_first_owns_the_box_and_lands_signed_in(box: Box, fake_engine: FakeEngine) -> None:
    sign_on = SignOn(box)
    box.configure(f'{sign_on.settings}[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    said = box.run("up", "--no-prove").stderr
    assert "Nobody owns this appliance yet. `appliance users owner-link`" in said
    assert box.document("status")["owned"] is False
    assert "Nobody owns this appliance yet" in box.run("status").stdout
    older = box.document("users", "owner-link")["link"]
    shown = box.run("users", "owner-link", "--qr")
    code, link = shown.stdout.rsplit("\x1b[0m\n", 1)
    assert code.count("\n") > 15
    assert f"ssh -L {sign_on.port}:127.0.0.1:{sign_on.port} USER@THIS-MACHINE" in shown.stderr
    assert link.startswith(f"{sign_on.issuer}/welcome/")

    browser, at = Browser(sign_on), link.strip().removeprefix(sign_on.issuer)
    assert "used up or too old" in browser.get(older.removeprefix(sign_on.issuer)).text
    page = browser.get(at)
    assert "Set up your account" in page.text
    said_back = browser.fill(page, at, name="Olga Ostrow", email="olga@example.com", password=PASSWORD, again=PASSWORD)
    assert said_back.location == "/"
    assert "olga@example.com" in browser.get("/").text
    (listed,) = box.document("users", "list")
    assert (listed["email"], listed["name"], listed["role"]) == ("olga@example.com", "Olga Ostrow", "owner")

    refused = box.document("users", "owner-link", code=1)["error"]
    assert refused["code"] == "owner-exists"
    assert box.document("status")["owned"] is True
    assert "Nobody owns" not in box.run("status").stdout
    assert "made the link for the first owner" in box.run("audit", "tail").stdout


def test_without_sign_on_there_is_nothing_to_open(box: Box) -> None:
    assert box.document("users", "owner-link", code=1)["error"]["code"] == "sign-on-off"
    assert box.document("status", code=1)["owned"] is None
