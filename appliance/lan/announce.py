"""Makes the box's name known on the network by avahi-publish, and follows the machine's address.

A process of its own, which is ready (`/health` on its UNIX socket) once everybody on the network can find the name.
One address is told: a machine in several networks says with `lan.address` which one is meant.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from appliance.errors import ApplianceError
from appliance.lan.naming import heard

_LOOK_S: Final = 5.0
_GRACE_S: Final = 3.0
_LONGEST_REQUEST: Final = 4096
# Nothing is sent there: it only makes the kernel say from which address it would.
_ELSEWHERE: Final = ("192.0.2.1", 9)


@dataclass(frozen=True, slots=True)
class Name:
    """What is to be made known: `program` is avahi-publish, `address` empty for the one that the machine has."""

    host: str
    address: str
    socket: str
    program: str

    def to_json(self) -> str:
        """One line of text."""
        return json.dumps(asdict(self))


def name_from_json(text: str) -> Name:
    """Read what `Name.to_json` wrote."""
    return Name(**json.loads(text))


def announce(name: Name) -> None:
    """Keep the name known until a signal ends it. Raises name-taken or mdns-failed."""
    Path(name.socket).unlink(missing_ok=True)
    asyncio.run(_Announcer(name).work())


def address_now() -> str:
    """The machine's address by which others reach it; empty while it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial, suppress(OSError):
        trial.connect(_ELSEWHERE)
        return str(trial.getsockname()[0])
    # A network without a way out: the first card that is up.
    up = {card for card, state in psutil.net_if_stats().items() if state.isup}
    found = (
        one.address
        for card, addresses in psutil.net_if_addrs().items()
        for one in addresses
        if card in up and one.family == socket.AF_INET and not one.address.startswith("127.")
    )
    return next(found, "")


class _Announcer:
    """One avahi-publish at a time, for the address of now."""

    def __init__(self, name: Name) -> None:
        self._name = name
        self._told = ""
        self._known = False
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()

    async def work(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        server = await asyncio.start_unix_server(self._answer, self._name.socket, limit=_LONGEST_REQUEST)
        ending = loop.create_task(self._ending.wait())
        try:
            while not self._ending.is_set():
                await self._follow()
                waiting = {ending} | ({self._reader} if self._reader else set())
                done, _ = await asyncio.wait(waiting, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if self._reader in done and self._reader is not None and not self._ending.is_set():
                    self._reader.result()
        finally:
            ending.cancel()
            await self._end()
            server.close()

    async def _follow(self) -> None:
        """Tell the address of now, if another one, or none, is told."""
        address = self._name.address or address_now()
        if address == self._told:
            return
        await self._end()
        if not address:
            return
        command = (self._name.program, "-a", "-R", self._name.host, address)
        self._child = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        self._told = address
        self._reader = asyncio.get_running_loop().create_task(self._listen(self._child))

    async def _listen(self, child: asyncio.subprocess.Process) -> None:
        """Hear what it says until it ends, which it does only when something is wrong."""
        assert child.stdout is not None
        last = ""
        async for raw in child.stdout:
            line = raw.decode("utf-8", "replace").strip()
            last = line or last
            said = heard(line, self._name.host)
            if said == "taken":
                raise ApplianceError(
                    "name-taken",
                    f"Another machine on the network is called {self._name.host}.",
                    "Rename that one, or set another name with `host` under [lan] in the settings.",
                )
            self._known = self._known or said == "known"
        raise ApplianceError(
            "mdns-failed",
            f"The name {self._name.host} cannot be made known: {last or 'avahi-publish ended'}.",
            "Start Avahi: sudo systemctl enable --now avahi-daemon",
        )

    async def _end(self) -> None:
        self._known, self._told = False, ""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with suppress(asyncio.CancelledError, ApplianceError):
                await reader
        child, self._child = self._child, None
        if child is None or child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), _GRACE_S)
        except TimeoutError:
            child.kill()
            await child.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say whether the name is known, to whoever asks anything."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            status = b"200 OK" if self._known else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
            await writer.drain()
        writer.close()
