"""Letting a device in that has no browser."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.sign_on import Browser, Program, SignOn, claims

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def tool(sign_on: SignOn, request: pytest.FixtureRequest) -> Program:
    """A program on the command line, which can keep no secret."""
    return Program(sign_on, sign_on.client(request.node.name, flows=["device"], public=True))


def begin(tool: Program) -> dict[str, Any]:
    """What the device shows."""
    sent = {"client_id": tool.about["id"], "scope": "openid"}
    return dict(tool.sign_on.ask("POST", "/device-authorization", sent).json)


def look(tool: Program, shown: dict[str, Any]) -> dict[str, Any]:
    """What the device is told."""
    return dict(tool.token(grant_type=GRANT, device_code=shown["device_code"]).json)


def test_a_device_is_let_in_by_a_code(sign_on: SignOn, tool: Program, anna: Browser) -> None:
    shown = begin(tool)
    assert shown["verification_uri"] == f"{sign_on.issuer}/device"
    assert look(tool, shown)["error"] in ("authorization_pending", "slow_down")
    page = anna.get(shown["verification_uri_complete"].removeprefix(sign_on.issuer))
    assert shown["user_code"] in page.text
    asked = anna.fill(page, "/device", code=shown["user_code"].lower().replace("-", " "))
    assert "Anna Schmidt" in asked.text
    assert shown["user_code"] in asked.text
    assert "Done" in anna.fill(asked, "/device", decision="allow").text
    tokens = look(tool, shown)
    assert claims(tokens["id_token"])["sub"] == claims(tokens["access_token"])["sub"]
    assert sign_on.box.get("/v1/models", tokens["access_token"])[0] == 200
    assert look(tool, shown)["error"] == "invalid_grant"
    page = anna.get("/")
    assert anna.fill(page, "/sign-out", decision="yes").status == 200
    assert sign_on.box.get("/v1/models", tokens["access_token"])[0] == 200
    assert tool.refresh(tokens["refresh_token"]).status == 200


def test_a_device_that_is_not_let_in_is_told_so(sign_on: SignOn, tool: Program, anna: Browser) -> None:
    shown = begin(tool)
    asked = anna.fill(anna.get("/device"), "/device", code=shown["user_code"])
    assert "Not connected" in anna.fill(asked, "/device", decision="refuse").text
    assert look(tool, shown)["error"] == "access_denied"
    assert anna.fill(asked, "/device", decision="allow").status == 403


def test_a_device_that_looks_too_often_is_slowed_down(tool: Program) -> None:
    shown = begin(tool)
    assert look(tool, shown)["error"] == "slow_down"
    assert look(tool, {"device_code": "made-up"})["error"] == "invalid_grant"


def test_a_code_that_is_wrong_or_not_of_a_person_who_is_signed_in_lets_nobody_in(
    sign_on: SignOn, tool: Program, anna: Browser
) -> None:
    page = anna.get("/device")
    for code in ("", "BCDF", "BCDF-GHJK", "<script>"):
        said = anna.fill(page, "/device", code=code)
        assert (said.status, "no device with that code" in said.text) == (403, True)
    stranger = Browser(sign_on)
    assert "Sign in" in stranger.get("/device?user_code=BCDF-GHJK").text
    assert "to=%2Fdevice%3Fuser_code%3DBCDF-GHJK" in stranger.ask("GET", "/device?user_code=bcdfghjk").location


def test_whoever_is_suspended_takes_their_devices_along(sign_on: SignOn, tool: Program) -> None:
    carl = Browser(sign_on)
    carl.sign_in("carl@example.com")
    shown, waiting = begin(tool), begin(tool)
    for one in (shown, waiting):
        asked = carl.fill(carl.get("/device"), "/device", code=one["user_code"])
        carl.fill(asked, "/device", decision="allow")
    tokens = look(tool, shown)
    sign_on.box.run("keys", "suspend", "--owner", "carl", "--yes")
    assert look(tool, waiting)["error"] == "access_denied"
    sign_on.box.run("keys", "resume", "--owner", "carl")
    assert sign_on.box.get("/v1/models", tokens["access_token"])[0] == 401
    assert tool.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant"
