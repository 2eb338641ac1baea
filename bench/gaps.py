"""Reads streams, and writes down when each of their events came: `python -m bench.gaps PORT KEY STREAMS SECONDS`.

A process of its own, so that nothing else that the harness does holds it up. Reads until the time is over, and prints a
JSON object: `gaps_ms`, the time between one event and the next of the same stream, of all streams together, and
`failed`, what went wrong.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from contextlib import suppress
from typing import Any, Final

from bench import tools

_EVENT: Final = b"data: "
# Before the first chunks have come the gaps are those of a beginning.
_BEGINNING: Final = 4


def read(port: int, key: str, streams: int, seconds: float) -> dict[str, Any]:
    """Gaps in milliseconds, and whatever failed."""
    gaps: list[float] = []
    failed: list[str] = []
    last: dict[socket.socket, float] = {}
    seen: dict[socket.socket, int] = {}
    with selectors.DefaultSelector() as waiting:
        for _ in range(streams):
            waiting.register(_asked(port, key), selectors.EVENT_READ)
        until = time.monotonic() + seconds
        while time.monotonic() < until and not failed:
            for ready, _ in waiting.select(0.1):
                sock = ready.fileobj
                assert isinstance(sock, socket.socket)
                data, now = sock.recv(1 << 16), time.monotonic()
                events = data.count(_EVENT)
                before = seen.get(sock, 0)
                if not data or (sock not in seen and not data.startswith(b"HTTP/1.1 200")):
                    failed.append(data[:200].decode(errors="replace") or "a stream ended early")
                    break
                seen[sock] = before + events
                if events and before > _BEGINNING:
                    # Those that came together have nothing between them.
                    gaps += [(now - last[sock]) * 1000, *[0.0] * (events - 1)]
                if events:
                    last[sock] = now
    return {"gaps_ms": gaps, "failed": failed}


def _asked(port: int, key: str) -> socket.socket:
    """A connection on which a streamed answer has been asked for."""
    body = tools.body(tools.Case(1, chunks=1)).replace(tools.MODEL, "chat").encode()
    made = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: box\r\nAuthorization: Bearer {key}\r\n"
    made.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    return made


if __name__ == "__main__":
    # The readers of a real box are other machines: they wait for nothing that this one does.
    with suppress(OSError):
        os.nice(-10)
    _, _port, _key, _streams, _seconds = sys.argv
    print(json.dumps(read(int(_port), _key, int(_streams), float(_seconds))))
