"""How long somebody waits for the chat page in a browser that has never been there.

    python -m bench.page [--rounds N] [--caddy]

Starts a box with the chat page, and in each round opens it twice in a real Chromium with a profile of its own: once as
nobody, up to the form of sign-on, and from its password on to a place to type in; once as somebody who is signed in
(with the cookies and the token of the first time, and no file), from the address to a place to type in. Beside the time
it prints whose processor time it was: the browser's, the chat page's server's, everything else's of the box. `--caddy`
goes over HTTPS as on a network. Exit status: 0 the limits kept, 1 broken, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

from appliance.errors import ApplianceError
from bench import processes, tools
from bench.chat_box import PERSON, ChatBox, chat_box
from bench.report import Check, limits_table
from tests.support.chat_page import Visitor
from tests.support.chromium import PROGRAM, Tab, tab
from tests.support.lan import HOST
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser

LIMIT_S: Final = 6.0
_FORM: Final = "document.querySelector('#email')"
_USABLE: Final = "document.querySelector('#chat-input')?.isContentEditable"
# How many files a page has loaded, and how many bytes came for them.
_LOADED: Final = """(() => {
    const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    return [all.length, all.reduce((sum, one) => sum + one.transferSize, 0)];
})()"""
_LOOK_S: Final = 0.05
_OPTIONS: Final = (
    f"--host-resolver-rules=MAP {HOST} 127.0.0.1,MAP * ~NOTFOUND,EXCLUDE 127.0.0.1",
    # The box's own authority is not this machine's.
    "--ignore-certificate-errors",
    "--window-size=1280,800",
)


@dataclass(frozen=True)
class Wait:
    """One wait: seconds, and seconds of processor time of the browser, of the page's server and of the rest."""

    seconds: float
    browser: float
    page: float
    rest: float


@dataclass(frozen=True)
class Round:
    """To the form of sign-on; from there to a place to type in; and to that at once for whoever is known."""

    form: Wait
    after: Wait
    known: Wait
    requests: int
    megabytes: float
    external: tuple[str, ...]


class _Clock:
    """Measures one wait after the other."""

    def __init__(self, made: ChatBox, browser: int) -> None:
        pids = made.processes()
        self._roots = (browser, pids["chat-page"], pids["supervisor"])
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._began = time.monotonic()
        self._used = [processes.cpu_seconds(root) for root in self._roots]

    def stop(self) -> Wait:
        """Since the beginning."""
        seconds = time.monotonic() - self._began
        used = [processes.cpu_seconds(root) - then for root, then in zip(self._roots, self._used, strict=True)]
        return Wait(seconds, used[0], used[1], used[2] - used[1])


async def _round(made: ChatBox, folder: Path, *, watched: bool = False) -> Round:
    """One round. `watched`: all that is asked for is looked at, which takes the browser time."""
    async with _browser(folder / "nobody", watched=watched) as opened:
        clock = _Clock(made, opened.process)
        await opened.call("Page.navigate", url=made.origin)
        await opened.until(_FORM, _LOOK_S)
        form = clock.stop()
        clock.start()
        await opened.send("form", email=f"{PERSON}@example.com", password=PASSWORD)
        await opened.until(_USABLE, _LOOK_S)
        after = clock.stop()
        cookies = (await opened.call("Network.getAllCookies"))["cookies"]
        hosts = _hosts(opened)
    async with _browser(folder / "known", watched=watched) as opened:
        await opened.call("Network.setCookies", cookies=cookies)
        await opened.call("Page.addScriptToEvaluateOnNewDocument", source=_token(cookies))
        clock = _Clock(made, opened.process)
        await opened.call("Page.navigate", url=made.origin)
        await opened.until(_USABLE, _LOOK_S)
        known = clock.stop()
        requests, size = await opened.run(_LOADED)
        outside = (hosts | _hosts(opened)) - {"127.0.0.1", HOST}
        return Round(form, after, known, int(requests), float(size) / 1e6, tuple(sorted(outside)))


@asynccontextmanager
async def _browser(folder: Path, *, watched: bool) -> AsyncIterator[Tab]:
    """A browser that has never been anywhere, at rest."""
    async with tab(folder, *_OPTIONS) as opened:
        if not watched:
            await opened.call("Network.disable")
        before = -1.0
        while (now := processes.cpu_seconds(opened.process)) > before:
            before = now
            await asyncio.sleep(0.5)
        yield opened


def _token(cookies: list[dict[str, str]]) -> str:
    """A script by which a browser has what the page keeps in it of whoever is signed in."""
    value = next(one["value"] for one in cookies if one["name"] == "token")
    return f"performance.setResourceTimingBufferSize(5000); localStorage.token = {json.dumps(value)};"


def _hosts(opened: Tab) -> set[str]:
    return {str(urlsplit(one).hostname) for one in opened.addresses() if one.startswith(("http", "ws"))}


def table(rounds: Sequence[Round]) -> str:
    """The report: medians of the waits, and the figures beside their limits."""
    lines = [
        "| from a browser that has never been there | s | browser's CPU s | page's server | rest of the box |",
        "| --- | --- | --- | --- | --- |",
    ]
    for words, waits in (
        ("the address, signed in, to a place to type in", [one.known for one in rounds]),
        ("the address, not signed in, to the form of sign-on", [one.form for one in rounds]),
        ("the password to a place to type in", [one.after for one in rounds]),
    ):
        cells = [median(getattr(one, name) for one in waits) for name in ("seconds", "browser", "page", "rest")]
        lines.append(f"| {words} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    requests, megabytes = median(one.requests for one in rounds), median(one.megabytes for one in rounds)
    lines += ["", f"{requests:.0f} requests, {megabytes:.1f} MB on the way."]
    return "\n".join([*lines, "", *limits_table(checks(rounds))])


def checks(rounds: Sequence[Round]) -> list[Check]:
    """The figures beside their limits."""
    outside = {host for one in rounds for host in one.external}
    return [
        Check("s from a cold page to a place to type in", median(one.known.seconds for one in rounds), LIMIT_S),
        Check("hosts asked that are not the box", len(outside), 0),
    ]


def _measure(made: ChatBox, rounds: int) -> list[Round]:
    assert made.page is not None
    # A server that has served: its first answers are those after a start.
    visitor = Visitor(made.page, Browser(made.sign_on))
    visitor.enters(f"{PERSON}@example.com")
    "".join(visitor.reads("Say something short about good neighbours."))
    with TemporaryDirectory(prefix="bench-") as scratch:
        for number in range(rounds + 1):
            (Path(scratch) / str(number)).mkdir()
        # The first warms what the server keeps, and looks whom the pages ask; its times are not counted.
        first = asyncio.run(_round(made, Path(scratch) / "0", watched=True))
        found = [asyncio.run(_round(made, Path(scratch) / str(number))) for number in range(1, rounds + 1)]
    return [replace(one, external=first.external) for one in found]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--caddy", action="store_true", help="over HTTPS, as on a network")
    chosen = parser.parse_args()
    try:
        if PROGRAM is None:
            raise tools.BenchError("Chromium is not installed: sudo apt-get install chromium")
        with chat_box(page=True, caddy=chosen.caddy) as (made, _):
            rounds = _measure(made, chosen.rounds)
    except (tools.BenchError, ApplianceError, AssertionError, subprocess.SubprocessError, OSError) as error:
        print(f"nothing could be measured: {error}", file=sys.stderr)
        return 2
    print(f"{tools.place()}{' Over HTTPS.' if chosen.caddy else ''}\n\n{table(rounds)}")
    return 0 if all(one.kept for one in checks(rounds)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
