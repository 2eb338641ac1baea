"""Passkeys in a real browser, with an authenticator that it plays itself: our script, under our pages' policy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.box import Box
from tests.support.chromium import PROGRAM, tab
from tests.support.people import PASSWORD
from tests.support.sign_on import SignOn

pytestmark = [pytest.mark.slow, pytest.mark.skipif(PROGRAM is None, reason="Debian's chromium is not installed")]

_DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


async def passkey(sign_on: SignOn, folder: Path) -> None:
    """Sign in, add a passkey, sign out, come back with it, and fail once the device does not know who it is."""
    async with tab(folder) as page:
        await page.call("WebAuthn.enable")
        device = (await page.call("WebAuthn.addVirtualAuthenticator", options=_DEVICE))["authenticatorId"]
        await page.open(f"{sign_on.issuer}/sign-in")
        await page.send("form[action='/sign-in']", email="zoe@example.com", password=PASSWORD)
        await page.until("document.querySelector('h1')?.textContent === 'Zoe'")
        await page.open(f"{sign_on.issuer}/account/passkey")
        await page.send("form[data-passkey]", name="My laptop")
        await page.until("location.pathname === '/account' && document.body.textContent.includes('My laptop, since')")
        await page.send("form[action='/sign-out']")
        await page.until("location.pathname === '/sign-out'")
        await page.open(f"{sign_on.issuer}/sign-in")
        assert await page.run("document.querySelector('form[data-passkey]').hidden") is False
        await page.send("form[data-passkey]")
        await page.until("document.body.textContent.includes('with a passkey')")
        assert page.complaints() == []
        assert {one for one in page.addresses() if not one.startswith((f"{sign_on.issuer}/", "about:"))} == set()
        await page.call("WebAuthn.setUserVerified", authenticatorId=device, isUserVerified=False)
        await page.open(f"{sign_on.issuer}/sign-in")
        await page.send("form[data-passkey]")
        await page.until("document.querySelector('form[data-passkey] .problem').hidden === false")


def test_a_passkey_is_made_and_used_by_our_script(box: Box, tmp_path: Path) -> None:
    sign_on = SignOn(box)
    sign_on.url = f"http://localhost:{sign_on.port}"
    box.configure(sign_on.settings)
    sign_on.person("zoe")
    sign_on.start()
    try:
        asyncio.run(passkey(sign_on, tmp_path / "chromium"))
    finally:
        sign_on.stop()
