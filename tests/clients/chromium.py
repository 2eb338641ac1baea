"""People at the chat page, in a real Chromium: from an owner's first link to somebody who is shut out in mid-answer.

Takes one JSON argument: `url` of the page, `password` for everybody, `question`, `document` (a file) and `about` (a
question that it answers), `commands` (by name, the argument list of a command of the box: `owner-link`, `invite` and
`disable`), `environment` of those, `shots` (a folder for screenshots) and `chromium` (the program). Says what was seen
as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

# The machine may have much else to do.
_WAIT_MS = 180_000
# Sizes of an answer that is seen to grow.
_ENOUGH = 12
# Characters of an answer about a document, with what stands around it.
_SAID = 100
_OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
_WHOLE = 'button[aria-label="Regenerate"]'
_MENU = 'button[aria-label="User menu"], button[aria-label="Open User Profile Menu"]'


class Visit:
    """All browsers of one run: what they asked for, what they complained of, and where their pictures go."""

    def __init__(self, chromium: Browser, asked: dict[str, Any]) -> None:
        self.chromium = chromium
        self.asked = asked
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.pages: list[Page] = []
        self._shots = 0

    def browser(self) -> Page:
        """A browser of somebody who has never been here."""
        context = self.chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
        context.set_default_timeout(_WAIT_MS)
        context.on("request", lambda request: self.requests.append(request.url))
        return self.tab(context)

    def tab(self, context: BrowserContext) -> Page:
        """One more page in a browser."""
        page = context.new_page()
        page.on("console", lambda line: self._complain(line.type, f"{line.text} {line.location.get('url', '')}"))
        self.pages.append(page)
        return page

    def _complain(self, kind: str, text: str) -> None:
        if kind == "error":
            self.complaints.append(text)

    def shot(self, page: Page, name: str, settle_ms: int = 300) -> None:
        """A picture, numbered in the order of the visit."""
        page.wait_for_timeout(settle_ms)
        self._shots += 1
        page.screenshot(path=Path(self.asked["shots"]) / f"{self._shots:02}-{name}.png")

    def failed(self) -> None:
        """What everybody saw when something went wrong."""
        for number, page in enumerate(self.pages):
            if not page.is_closed():
                page.screenshot(path=Path(self.asked["shots"]) / f"failed-{number}.png")

    def begin(self, name: str) -> subprocess.Popen[str]:
        """A command of the box that is on its way."""
        command = self.asked["commands"][name]
        return subprocess.Popen(command, env=self.asked["environment"], text=True, stdout=subprocess.PIPE)


def link(command: subprocess.Popen[str]) -> str:
    """The one-time link that a command makes."""
    said, _ = command.communicate()
    assert command.returncode == 0
    return str(json.loads(said)["link"])


def main(asked: dict[str, Any]) -> dict[str, Any]:
    """The whole visit."""
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", _OFFLINE]
        visit = Visit(playwright.chromium.launch(executable_path=asked["chromium"], args=options), asked)
        found: dict[str, Any] = {"seconds": {}}
        try:
            with timed(found, "owner"):
                invited = owner_begins(visit)
            with timed(found, "invited"):
                person = invited_begins(visit, invited)
            with timed(found, "asks"):
                found |= asks(visit, person)
            with timed(found, "phone"):
                comes_back(visit, person)
            with timed(found, "document"):
                found |= asks_about_a_document(visit, person)
            with timed(found, "signs out"):
                found |= signs_out(visit, person)
            with timed(found, "signs in"):
                signs_in(visit, person)
            with timed(found, "shut out"):
                found |= is_shut_out(visit, person)
        except Exception:
            visit.failed()
            raise
        finally:
            print(json.dumps([found, visit.complaints]), file=sys.stderr)
        visit.chromium.close()
    hosts = [urlsplit(url).hostname for url in visit.requests if url.startswith(("http", "ws"))]
    external = sorted({str(host) for host in hosts if host != "127.0.0.1"})
    return {**found, "requests": len(hosts), "external": external, "complaints": visit.complaints}


@contextmanager
def timed(found: dict[str, Any], name: str) -> Iterator[None]:
    """Write down how long a part of the visit took."""
    began = time.monotonic()
    yield
    found["seconds"][name] = round(time.monotonic() - began, 1)


def owner_begins(visit: Visit) -> subprocess.Popen[str]:
    """The first owner opens the link that the installer ends with, and lands in the chat; then somebody is invited."""
    made = visit.begin("owner-link")
    page = visit.browser()
    page.goto(link(made))
    page.fill("#person", "Olga Ostrow")
    page.fill("#email", "olga@example.com")
    visit.shot(page, "owner-link")
    choose_password(visit, page)
    invited = visit.begin("invite")
    visit.shot(page, "owner-lands-in-the-chat", 1500)
    return invited


def invited_begins(visit: Visit, invited: subprocess.Popen[str]) -> Page:
    """Somebody who was invited opens their link, and lands in the chat."""
    page = visit.browser()
    page.goto(link(invited))
    visit.shot(page, "invited")
    choose_password(visit, page)
    visit.shot(page, "invited-lands-in-the-chat", 1500)
    return page


def choose_password(visit: Visit, page: Page) -> None:
    """Fill in the form of a one-time link, and wait for the place to type in."""
    page.fill("#password", visit.asked["password"])
    page.fill("#again", visit.asked["password"])
    page.locator("form button").click()
    page.locator("#chat-input").wait_for()
    assert page.url.startswith(visit.asked["url"]), page.url


def ask(page: Page, question: str) -> Locator:
    """Send a question; its answer, which has yet to come."""
    before = page.locator(".chat-assistant").count()
    page.locator("#chat-input").click()
    page.keyboard.type(question)
    page.locator("#send-message-button").click()
    answer = page.locator(".chat-assistant").nth(before)
    answer.wait_for()
    return answer


def stop(page: Page) -> None:
    """Press the button that ends an answer, where the answer has not just ended of itself."""
    page.evaluate("""document.querySelector('button[aria-label="Stop"]')?.click()""")


def asks(visit: Visit, page: Page) -> dict[str, Any]:
    """Ask, and look at the answer as it grows; once it has grown enough, stop it."""
    answer = ask(page, visit.asked["question"])
    seen: list[str] = []
    stopped = False
    deadline = time.monotonic() + _WAIT_MS / 1000
    # It can be asked for anew once it is whole.
    while page.locator(_WHOLE).count() == 0:
        text = answer.inner_text().strip()
        if text and text not in seen[-1:]:
            seen.append(text)
        if len(seen) >= _ENOUGH and not stopped:
            visit.shot(page, "answer-grows", 0)
            stop(page)
            stopped = True
        assert time.monotonic() < deadline, "the answer did not end"
        page.wait_for_timeout(20)
    visit.shot(page, "answer")
    return {"answer": answer.inner_text().strip(), "sizes": [len(text) for text in seen]}


def comes_back(visit: Visit, before: Page) -> None:
    """A new tab, on a phone, in the dark: from nothing to a place to type in."""
    page = visit.tab(before.context)
    page.goto(visit.asked["url"])
    page.locator("#chat-input").wait_for()
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    visit.shot(page, "phone", 1000)
    page.close()


def asks_about_a_document(visit: Visit, page: Page) -> dict[str, Any]:
    """Upload a document in a new conversation, ask about it, and look at what the answer was made from."""
    page.goto(visit.asked["url"])
    page.locator("#chat-input").wait_for()
    name = Path(visit.asked["document"]).name
    with page.expect_response(lambda said: "/api/v1/files/" in said.url and said.request.method == "POST") as uploaded:
        page.locator('input[type="file"][multiple]').first.set_input_files(visit.asked["document"])
    assert uploaded.value.status == 200, uploaded.value.text()
    page.get_by_text(name).first.wait_for()
    visit.shot(page, "document", 1500)
    answer = ask(page, visit.asked["about"])
    sources = page.locator('button[aria-label="Toggle 1 source"]')
    deadline = time.monotonic() + _WAIT_MS / 1000
    while page.locator(_WHOLE).count() == 0:
        # The trial model may talk on and on; what it was given is what matters here.
        if len(answer.inner_text()) > _SAID and sources.count():
            stop(page)
        assert time.monotonic() < deadline, "the answer did not end"
        page.wait_for_timeout(100)
    sources.click()
    source = page.locator(".chat-assistant").last.get_by_text(name)
    source.last.wait_for()
    visit.shot(page, "source")
    source.last.click()
    visit.shot(page, "source-opened")
    shown = page.inner_text("body")
    page.keyboard.press("Escape")
    return {"document_answer": answer.inner_text(), "source": shown}


def signs_out(visit: Visit, page: Page) -> dict[str, Any]:
    """Sign out, and try to get back in: by the address, and with what the browser held."""
    url = visit.asked["url"]
    cookies = {one["name"]: one["value"] for one in page.context.cookies(url)}
    page.locator(_MENU).last.click()
    page.get_by_text("Sign Out").click()
    page.wait_for_url(lambda to: not to.startswith(url))
    page.wait_for_load_state()
    visit.shot(page, "signed-out")
    signed_out = page.inner_text("body")
    held = page.context.request.get(f"{url}/api/v1/auths/", headers={"Authorization": f"Bearer {cookies['token']}"})
    page.goto(url)
    page.locator("#email").wait_for()
    return {"signed_out": signed_out, "held_status": held.status, "cookies": sorted(cookies)}


def signs_in(visit: Visit, page: Page) -> None:
    """With the password, on the page that they were led to."""
    visit.shot(page, "sign-in")
    page.fill("#email", "dora@example.com")
    page.fill("#password", visit.asked["password"])
    page.locator("form button").first.click()
    page.locator("#chat-input").wait_for()


def is_shut_out(visit: Visit, page: Page) -> dict[str, Any]:
    """While an answer is written, an admin switches this person off: it ends, and the next click leads outside."""
    ask(page, visit.asked["question"])
    while len(written(page)) < 20:
        page.wait_for_timeout(20)
    command = visit.begin("disable")
    visit.shot(page, "an-answer-grows-for-somebody-who-is-to-go", 0)
    while command.poll() is None:
        page.wait_for_timeout(10)
    command.communicate()
    assert command.returncode == 0
    began = time.monotonic()
    # How long it still grows, looked at for longer than it may.
    size, grew_s = len(written(page)), 0.0
    while time.monotonic() < began + 4 and page.url.startswith(visit.asked["url"]):
        now = len(written(page))
        if now > size:
            size, grew_s = now, time.monotonic() - began
        page.wait_for_timeout(20)
    visit.shot(page, "switched-off", 0)
    # The page may have noticed by itself, by whatever it asked for next.
    by_itself = not page.url.startswith(visit.asked["url"])
    if not by_itself:
        page.reload()
    page.locator("#email").wait_for()
    visit.shot(page, "outside")
    return {"grew_s": round(grew_s, 2), "left_by_itself": by_itself, "outside": page.url}


def written(page: Page) -> str:
    """What stands in the last answer; nothing where the page is not there any more."""
    try:
        return str(page.evaluate("[...document.querySelectorAll('.chat-assistant')].at(-1)?.innerText ?? ''")).strip()
    except PlaywrightError:
        # It is just being left.
        return ""


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
