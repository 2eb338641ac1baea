"""Makes the box's name known on the network by avahi-publish, and follows the machine's address.

A process of its own, which is ready (`/health` on its UNIX socket) once everybody on the network can find the name.
Told are the machine's IPv4 address and the lasting IPv6 address of the same network card. A machine in several networks
says with `lan.address` which one is meant; then that one alone is told, as nothing else is listened on.
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
from appliance.lan.naming import heard, lasting_ipv6

_LOOK_S: Final = 5.0
_GRACE_S: Final = 3.0
_LONGEST_REQUEST: Final = 4096
# Nothing is sent there: it only makes the kernel say from which address it would.
_ELSEWHERE: Final = ("192.0.2.1", 9)
_IPV6: Final = Path("/proc/net/if_inet6")


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


def addresses_now() -> tuple[str, ...]:
    """The addresses by which others reach the machine: IPv4, then IPv6 at the same network card, where it has them."""
    address = address_now()
    cards = psutil.net_if_addrs().items()
    card = next((name for name, known in cards if any(one.address == address for one in known)), "")
    try:
        table = _IPV6.read_text()
    except OSError:
        # A system without IPv6.
        table = ""
    return tuple(one for one in (address, lasting_ipv6(table, card)) if one)


@dataclass(slots=True)
class _Telling:
    """One avahi-publish, which tells one address, and who hears what it says."""

    child: asyncio.subprocess.Process
    reader: asyncio.Task[None] | None = None
    known: bool = False


class _Announcer:
    """One avahi-publish for each address of now. It takes one only, and A and AAAA of one name get along."""

    def __init__(self, name: Name) -> None:
        self._name = name
        # The first one is what it is about: the name is known once that is, and nothing goes on without it.
        self._told: dict[str, _Telling] = {}
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
                readers = {one.reader for one in self._told.values() if one.reader and not one.reader.done()}
                await asyncio.wait({ending} | readers, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                if not self._ending.is_set():
                    self._check()
        finally:
            ending.cancel()
            for address in list(self._told):
                await self._end(address)
            server.close()

    async def _follow(self) -> None:
        """Tell the addresses of now, if others, or none, are told."""
        wanted = (self._name.address,) if self._name.address else addresses_now()
        if tuple(self._told) == wanted:
            return
        for address in self._told.keys() - set(wanted):
            await self._end(address)
        for address in wanted:
            if address in self._told:
                continue
            command = (self._name.program, "-a", "-R", self._name.host, address)
            child = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            telling = self._told[address] = _Telling(child)
            telling.reader = asyncio.get_running_loop().create_task(self._listen(telling))
        self._told = {address: self._told[address] for address in wanted}

    def _check(self) -> None:
        """Raises what is wrong. A second address that cannot be told is left untold, until there is another."""
        for place, telling in enumerate(self._told.values()):
            if telling.reader is None or not telling.reader.done():
                continue
            error = telling.reader.exception()
            if error is not None and (place == 0 or getattr(error, "code", "") != "mdns-failed"):
                raise error

    async def _listen(self, telling: _Telling) -> None:
        """Hear what it says until it ends, which it does only when something is wrong."""
        assert telling.child.stdout is not None
        last = ""
        async for raw in telling.child.stdout:
            line = raw.decode("utf-8", "replace").strip()
            last = line or last
            said = heard(line, self._name.host)
            if said == "taken":
                raise ApplianceError(
                    "name-taken",
                    f"Another machine on the network is called {self._name.host}.",
                    "Rename that one, or set another name with `host` under [lan] in the settings.",
                )
            telling.known = telling.known or said == "known"
        raise ApplianceError(
            "mdns-failed",
            f"The name {self._name.host} cannot be made known: {last or 'avahi-publish ended'}.",
            "Start Avahi: sudo systemctl enable --now avahi-daemon",
        )

    async def _end(self, address: str) -> None:
        telling = self._told.pop(address)
        if telling.reader is not None:
            telling.reader.cancel()
            with suppress(asyncio.CancelledError, ApplianceError):
                await telling.reader
        if telling.child.returncode is not None:
            return
        with suppress(ProcessLookupError):
            telling.child.terminate()
        try:
            await asyncio.wait_for(telling.child.wait(), _GRACE_S)
        except TimeoutError:
            telling.child.kill()
            await telling.child.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Say whether the name is known, to whoever asks anything."""
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            first = next(iter(self._told.values()), None)
            status = b"200 OK" if first is not None and first.known else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
            await writer.drain()
        writer.close()
