"""A directory that speaks LDAP, as a process of its own: `python -m tests.support.ldap_server CERTIFICATE KEY`.

It answers binds, searches and StartTLS from a table of entries, and misbehaves as it is told. With the certificate `-`
it speaks without TLS; so it does with `start` ahead, until it is asked for TLS. What it is told and what it was asked
goes through a second port, as lines of JSON. It prints both ports.
"""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tests.support.box import environment

BIND, SEARCH, EXTENDED = 0x60, 0x63, 0x77
BOUND, FOUND, SEARCHED, REFERENCE, DONE = 0x61, 0x64, 0x65, 0x73, 0x78
INTEGER, STRING, ENUMERATED, SEQUENCE, SET = 0x02, 0x04, 0x0A, 0x30, 0x31
AND, OR, NOT, EQUAL, PART, PRESENT, RULE = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0x87, 0xA9
IN_CHAIN = b"1.2.840.113556.1.4.1941"
BINDER, BINDER_PASSWORD = "cn=appliance,dc=example,dc=com", "look people up"
OK, OPERATIONS, REFERRAL, NOT_THE_RULE, NO_SUCH, BAD_PASSWORD = 0, 1, 10, 18, 32, 49


class World:
    """What is in the directory, and what it was asked."""

    tls: ssl.SSLContext | None = None
    by_request = False
    entries: ClassVar[dict[str, dict[str, list[str]]]] = {}
    how = ""
    asked: ClassVar[list[list[str]]] = []
    held = threading.Event()


class Ldap(socketserver.BaseRequestHandler):
    """One connection."""

    bound = ""

    def handle(self) -> None:
        """Answer until it is closed."""
        if World.tls is not None and not World.by_request:
            try:
                self.request = World.tls.wrap_socket(self.request, server_side=True)
            except OSError:
                return
        while (message := self.read()) is not None:
            number, (kind, content) = int.from_bytes(message[0][1], "big"), message[1]
            if World.how == "hangs":
                World.held.wait(30)
                return
            if kind == BIND:
                self.bind(number, content)
            elif kind == SEARCH:
                self.search(number, content)
            elif kind == EXTENDED and World.tls is not None:
                self.answer(number, DONE, OK)
                self.request = World.tls.wrap_socket(self.request, server_side=True)
            else:
                return

    def read(self) -> list[tuple[int, bytes]] | None:
        """The parts of the next message; None at the end."""
        try:
            head = self.exactly(2)
            length = head[1]
            if length & 0x80:
                more = self.exactly(length & 0x7F)
                head, length = head + more, int.from_bytes(more, "big")
            return parts(self.exactly(length))
        except (OSError, EOFError):
            return None

    def exactly(self, count: int) -> bytes:
        """So many bytes."""
        found = b""
        while len(found) < count:
            piece = self.request.recv(count - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found

    def bind(self, number: int, content: bytes) -> None:
        """Whether it is the password; without one, as the standard has it, anybody is let in as nobody."""
        name, password = (one.decode() for _, one in parts(content)[1:])
        World.asked.append(["bind", name, password])
        entry = World.entries.get(name, {})
        right = not password or (name, password) == (BINDER, BINDER_PASSWORD) or [password] == entry.get("userPassword")
        self.bound = name if right and password else ""
        self.answer(number, BOUND, OK if right else BAD_PASSWORD)

    def search(self, number: int, content: bytes) -> None:
        """The entries that a filter means, for whoever may look."""
        fields = parts(content)
        base, filter = fields[0][1].decode(), fields[6]
        World.asked.append(["search", base, filter[1].decode("latin-1")])
        if self.bound != BINDER:
            self.answer(number, SEARCHED, OPERATIONS)
        elif World.how == "refers":
            self.refer(number)
            self.answer(number, SEARCHED, OK)
        elif filter[0] == RULE:
            self.chain(number, base, dict(parts(filter[1])))
        elif base != "ou=people,dc=example,dc=com":
            self.answer(number, SEARCHED, NO_SUCH)
        else:
            limit = int.from_bytes(fields[3][1], "big") or 1000
            found = [one for one in World.entries.items() if fits(filter, one[1])]
            for dn, entry in found[:limit]:
                self.entry(number, dn, entry)
            self.answer(number, SEARCHED, OK if len(found) <= limit else 4)

    def chain(self, number: int, base: str, asked: dict[int, bytes]) -> None:
        """Whether one entry is in a group, by whichever way: as Active Directory does it, and others do not."""
        if World.how == "no rule":
            self.answer(number, SEARCHED, NOT_THE_RULE)
            return
        assert (asked[0x81], asked[0x82]) == (IN_CHAIN, b"memberOf"), asked
        known, left = set[str](), [base]
        while left:
            more = World.entries.get(left.pop(), {}).get("memberOf", [])
            left += [one for one in more if one not in known]
            known |= set(more)
        if same(asked[0x83].decode()) in {same(one) for one in known}:
            self.entry(number, base, {})
        self.answer(number, SEARCHED, OK if base in World.entries else NO_SUCH)

    def entry(self, number: int, dn: str, entry: dict[str, list[str]]) -> None:
        """Send one entry, but for its password."""
        shown = b"".join(
            ber(SEQUENCE, ber(STRING, name.encode()), ber(SET, *(ber(STRING, raw(value)) for value in values)))
            for name, values in entry.items()
            if name != "userPassword"
        )
        self.send(number, FOUND, ber(STRING, dn.encode()), ber(SEQUENCE, shown))

    def refer(self, number: int) -> None:
        """Send them to another server."""
        self.send(number, REFERENCE, ber(STRING, b"ldap://127.0.0.1:1/ou=people,dc=example,dc=com"))

    def answer(self, number: int, kind: int, code: int) -> None:
        """A result."""
        self.send(number, kind, ber(ENUMERATED, bytes([code])), ber(STRING), ber(STRING))

    def send(self, number: int, kind: int, *content: bytes) -> None:
        """One message."""
        self.request.sendall(ber(SEQUENCE, ber(INTEGER, number.to_bytes(4, "big")), ber(kind, *content)))


def ber(tag: int, *content: bytes) -> bytes:
    """A piece of BER."""
    whole = b"".join(content)
    return bytes([tag, 0x84]) + len(whole).to_bytes(4, "big") + whole


def same(dn: str) -> str:
    """A DN as it is compared."""
    return ",".join(part.strip() for part in dn.lower().split(","))


def raw(value: str) -> bytes:
    """A value as it goes over the wire."""
    return bytes.fromhex(value[4:]) if value.startswith("hex:") else value.encode()


def parts(content: bytes) -> list[tuple[int, bytes]]:
    """What stands in a piece of BER, one after the other: tag and content."""
    found = []
    while content:
        tag, length, at = content[0], content[1], 2
        if length & 0x80:
            at += length & 0x7F
            length = int.from_bytes(content[2:at], "big")
        found.append((tag, content[at : at + length]))
        content = content[at + length :]
    return found


def fits(filter: tuple[int, bytes], entry: dict[str, list[str]]) -> bool:
    """Whether a filter means an entry. Any value has the parts of a value that are asked for."""
    kind, content = filter
    known = {name.lower(): values for name, values in entry.items()}
    if kind in (AND, OR):
        return (all if kind == AND else any)(fits(one, entry) for one in parts(content))
    if kind == NOT:
        return not fits(parts(content)[0], entry)
    if kind == PRESENT:
        return content.decode().lower() in known
    name, raw = parts(content)[0][1].decode().lower(), parts(content)[1][1]
    wanted = {raw.decode("utf-8", "replace").lower(), f"hex:{raw.hex()}"}
    return any(kind == PART or value.lower() in wanted for value in known.get(name, ()))


class Told(socketserver.StreamRequestHandler):
    """The test: a line says what to do, and is answered with what was asked since the last one."""

    def handle(self) -> None:
        """Take one line."""
        line = self.rfile.readline()
        if not line:
            return
        told = json.loads(line)
        self.wfile.write(json.dumps(World.asked).encode())
        World.asked = []
        if told is not None:
            World.held.set()
            World.held = threading.Event()
            World.entries, World.how = told["entries"], told["how"]


class Server(socketserver.ThreadingTCPServer):
    """Both of its faces."""

    allow_reuse_address, daemon_threads = True, True


@dataclass
class FakeDirectory:
    """It runs, as a test sees it."""

    port: int
    told: int
    process: subprocess.Popen[str]

    @classmethod
    def start(
        cls, certificate: Path | None = None, key: Path | None = None, *, by_request: bool = False
    ) -> FakeDirectory:
        """Start it, with TLS from the first byte, or once it is asked for."""
        argv = [sys.executable, "-P", "-m", "tests.support.ldap_server"]
        argv += [*(["start"] if by_request else []), str(certificate or "-"), str(key or "-")]
        process = subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        port, told = process.stdout.readline().split()
        return cls(int(port), int(told), process)

    def do(self, entries: dict[str, dict[str, list[str]]], how: str = "") -> None:
        """Have these entries, by DN, and behave like this from now on."""
        self._tell({"entries": entries, "how": how})

    def asked(self) -> list[list[str]]:
        """What it was asked since the last time: binds and searches."""
        return self._tell(None)

    def _tell(self, what: Any) -> list[list[str]]:
        with socket.create_connection(("127.0.0.1", self.told), timeout=30) as opened:
            opened.sendall(json.dumps(what).encode() + b"\n")
            return list(json.loads(b"".join(iter(lambda: opened.recv(65536), b""))))

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate(timeout=20)


def main(*words: str) -> None:
    """Serve until it is killed."""
    World.by_request = words[0] == "start"
    certificate, key = words[-2:]
    if certificate != "-":
        World.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        World.tls.load_cert_chain(certificate, key)
    ldap, told = Server(("127.0.0.1", 0), Ldap), Server(("127.0.0.1", 0), Told)
    threading.Thread(target=told.serve_forever, daemon=True).start()
    print(ldap.server_address[1], told.server_address[1], flush=True)
    ldap.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
