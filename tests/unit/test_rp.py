"""For which host passkeys are, and what browsers are asked."""

from __future__ import annotations

import json

import pytest

from appliance.errors import ApplianceError
from appliance.identity import challenges, rp
from appliance.identity.challenges import Challenges


@pytest.mark.parametrize(
    ("issuer", "host"),
    [
        ("https://ai.example.com:8443", "ai.example.com"),
        ("https://ai.local", "ai.local"),
        ("http://localhost:8085", "localhost"),
        ("http://127.0.0.1:8085", ""),
        ("http://[::1]:8085", ""),
        ("https://192.168.1.20", ""),
    ],
)
def test_passkeys_are_for_a_name_that_browsers_reach_safely(issuer: str, host: str) -> None:
    assert rp.id_of(issuer) == host
    assert bool(rp.to_sign_in(issuer, b"x")) is bool(host)
    assert bool(rp.to_add(issuer, b"x", rp.Whose("per-1", "a@b.c", "A"), "KI", ())) is bool(host)


def test_a_device_must_make_sure_who_somebody_is() -> None:
    asked = json.loads(rp.to_sign_in("https://ai.local", b"\xff\xfe"))
    assert (asked["challenge"], asked["rpId"], asked["userVerification"]) == ("__4", "ai.local", "required")
    made = json.loads(rp.to_add("https://ai.local", b"x", rp.Whose("per-1", "a@b.c", "A"), "KI", ["known"]))
    assert made["authenticatorSelection"]["userVerification"] == "required"
    assert made["excludeCredentials"] == [{"type": "public-key", "id": "known"}]


def test_a_challenge_is_for_one_purpose_and_one_browser_and_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Challenges()
    one = ours.make("sign-in", "browser")
    ours.check(one, "sign-in", "browser")
    for challenge, purpose, browser in (
        (one, "add per-1", "browser"), (one, "sign-in", "other"), (one[:-1], "sign-in", "browser"), (b"", "", ""),
        (bytes([255]) + one[1:], "sign-in", "browser"), (Challenges().make("sign-in", "browser"), "sign-in", "browser"),
    ):  # fmt: skip
        with pytest.raises(ApplianceError) as caught:
            ours.check(challenge, purpose, browser)
        assert caught.value.code == "sign-in-refused"
    ours.take(one)
    with pytest.raises(ApplianceError):
        ours.check(one, "sign-in", "browser")
    with pytest.raises(ApplianceError):
        ours.take(one)
    monkeypatch.setattr(challenges, "LASTS_S", -1)
    with pytest.raises(ApplianceError):
        ours.check(ours.make("sign-in", "browser"), "sign-in", "browser")
