"""A real Chromium, driven by its own protocol: for what a browser without JavaScript cannot show."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.box import free_port

PROGRAM = shutil.which("chromium")
_WAIT_S = 60


@dataclass
class Tab:
    """One page. `heard` is all that the browser tells of it without being asked, `process` the browser's id."""

    socket: aiohttp.ClientWebSocketResponse
    process: int
    heard: list[dict[str, Any]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A method of the protocol, and what it gives."""
        number = next(self.numbers)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        while True:
            said = json.loads((await self.socket.receive(_WAIT_S)).data)
            if said.get("id") == number:
                assert "error" not in said, said
                return dict(said["result"])
            self.heard.append(said)

    async def run(self, code: str) -> Any:
        """The value of an expression on the page."""
        said = await self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def until(self, condition: str, every_s: float = 0.1) -> None:
        """Wait until an expression holds on the page that there then is."""
        for _ in range(int(_WAIT_S / every_s)):
            said = await self.call("Runtime.evaluate", expression=f"Boolean({condition})", returnByValue=True)
            if said["result"].get("value") is True:
                return
            await asyncio.sleep(every_s)
        where = await self.run("`${location.href}, ${document.readyState}: ${document.body?.innerText}`")
        raise AssertionError(f"never came to be: {condition}, but {where}")

    async def open(self, address: str) -> None:
        """Go there, and wait for the page. One that is still being loaded is let be first: it would win."""
        await self.until("document.readyState === 'complete'")
        said = await self.call("Page.navigate", url=address)
        assert "errorText" not in said, said
        await self.until(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    async def send(self, form: str, **fields: str) -> None:
        """Fill in a form, and press its button."""
        filled = "".join(f"it.elements[{json.dumps(key)}].value = {json.dumps(one)};" for key, one in fields.items())
        await self.run(
            f"(() => {{ const it = document.querySelector({json.dumps(form)}); {filled} it.requestSubmit() }})()"
        )

    def addresses(self) -> set[str]:
        """What the page has asked for."""
        return {
            str(one["params"]["request"]["url"]) for one in self.heard if one["method"] == "Network.requestWillBeSent"
        }

    def complaints(self) -> list[str]:
        """What the browser found wrong: a script that failed, or something that the page's policy forbids."""
        return [
            json.dumps(one["params"])
            for one in self.heard
            if one["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
        ]


@asynccontextmanager
async def tab(folder: Path, *options: str) -> AsyncIterator[Tab]:
    """A page of a browser of its own, whose files are in a folder; `options` are more of Chromium's."""
    with _started(folder, options) as (port, process):
        async with aiohttp.ClientSession() as http:
            address = await _page(http, f"http://127.0.0.1:{port}/json")
            async with http.ws_connect(address, max_msg_size=0) as socket:
                found = Tab(socket, process)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await found.call(f"{domain}.enable")
                yield found


@contextmanager
def _started(folder: Path, more: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """A browser: the port at which it takes orders, and the id of its process."""
    assert PROGRAM
    port = free_port()
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
    where = (f"--remote-debugging-port={port}", f"--user-data-dir={folder}", "about:blank")
    with (folder.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, *options, *more, *where], stdout=log, stderr=log)
        try:
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(20)


async def _page(http: aiohttp.ClientSession, address: str) -> str:
    """Where the one page is driven, once it is there."""
    for _ in range(_WAIT_S * 10):
        try:
            async with http.get(address) as said:
                pages = [one for one in await said.json() if one["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.1)
    raise AssertionError("Chromium did not start")
