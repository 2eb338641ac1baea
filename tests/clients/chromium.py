"""Somebody at the chat page, in a real Chromium: signs in, asks, reads along, signs out. Says what it saw as JSON.

Takes one JSON argument: `url` of the page, `email`, `password`, `question`, `shots` (a folder for screenshots) and
`chromium` (the program).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, sync_playwright

_WAIT_MS = 120_000
# Sizes of an answer that is seen to grow.
_ENOUGH = 12
_OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """The whole visit."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", _OFFLINE]
        chromium = playwright.chromium.launch(executable_path=asked["chromium"], args=options)
        context = chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
        context.set_default_timeout(_WAIT_MS)
        requests: list[str] = []
        context.on("request", lambda request: requests.append(request.url))
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda line: complaints.append(_line(line)) if line.type == "error" else None)
        shots = Path(asked["shots"])
        found: dict[str, Any] = {}
        try:
            found |= _signs_in(page, asked, shots)
            found |= _asks(page, asked, shots)
            found |= _comes_back(context, asked, shots)
            found |= _signs_out(page, asked, shots)
        except Exception:
            page.screenshot(path=shots / "failed.png")
            raise
        finally:
            print(json.dumps(complaints), file=sys.stderr)
        chromium.close()
    hosts = [urlsplit(url).hostname for url in requests if url.startswith(("http", "ws"))]
    external = sorted({str(host) for host in hosts if host != "127.0.0.1"})
    return {**found, "requests": len(hosts), "external": external, "complaints": complaints}


def _line(message: ConsoleMessage) -> str:
    return f"{message.text} {message.location.get('url', '')}"


def _signs_in(page: Page, asked: dict[str, Any], shots: Path) -> dict[str, Any]:
    page.goto(asked["url"])
    page.locator("#email").wait_for()
    page.screenshot(path=shots / "1-sign-in.png")
    page.fill("#email", asked["email"])
    page.fill("#password", asked["password"])
    began = time.monotonic()
    page.click("button")
    page.locator("#chat-input").wait_for()
    seconds = time.monotonic() - began
    page.wait_for_timeout(1000)
    page.screenshot(path=shots / "2-chat.png")
    return {"first_page_s": round(seconds, 1)}


def _asks(page: Page, asked: dict[str, Any], shots: Path) -> dict[str, Any]:
    """Ask, and look at the answer as it grows; once it has grown enough, stop it."""
    page.locator("#chat-input").click()
    page.keyboard.type(asked["question"])
    page.locator("#send-message-button").click()
    answer = page.locator(".chat-assistant").last
    answer.wait_for()
    seen: list[str] = []
    stopped = False
    deadline = time.monotonic() + _WAIT_MS / 1000
    # It can be asked for anew once it is whole.
    while page.locator('button[aria-label="Regenerate"]').count() == 0:
        text = answer.inner_text().strip()
        if text and text not in seen[-1:]:
            seen.append(text)
        if len(seen) >= _ENOUGH and not stopped:
            page.screenshot(path=shots / "3-answer-grows.png")
            page.locator('button[aria-label="Stop"]').click()
            stopped = True
        assert time.monotonic() < deadline, "the answer did not end"
        page.wait_for_timeout(20)
    page.wait_for_timeout(1000)
    page.screenshot(path=shots / "4-answer.png")
    return {"answer": answer.inner_text().strip(), "sizes": [len(text) for text in seen]}


def _comes_back(context: BrowserContext, asked: dict[str, Any], shots: Path) -> dict[str, Any]:
    """A new tab: from nothing to a place to type in; and on a phone, in the dark."""
    page = context.new_page()
    began = time.monotonic()
    page.goto(asked["url"])
    page.locator("#chat-input").wait_for()
    seconds = time.monotonic() - began
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(1000)
    page.screenshot(path=shots / "5-phone.png")
    page.close()
    return {"page_s": round(seconds, 1)}


def _signs_out(page: Page, asked: dict[str, Any], shots: Path) -> dict[str, Any]:
    """Sign out, and try to get back in: by the address, and with what the browser held."""
    cookies = {one["name"]: one["value"] for one in page.context.cookies(asked["url"])}
    page.locator('button[aria-label="User menu"], button[aria-label="Open User Profile Menu"]').last.click()
    page.get_by_text("Sign Out").click()
    page.wait_for_url(lambda url: not url.startswith(asked["url"]))
    page.wait_for_load_state()
    page.screenshot(path=shots / "6-signed-out.png")
    signed_out = page.inner_text("body")
    held = page.context.request.get(
        f"{asked['url']}/api/v1/auths/", headers={"Authorization": f"Bearer {cookies['token']}"}
    )
    page.goto(asked["url"])
    page.locator("#email").wait_for()
    page.screenshot(path=shots / "7-again.png")
    return {"signed_out": signed_out, "held_status": held.status, "cookies": sorted(cookies)}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
