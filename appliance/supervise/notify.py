"""What systemd is told by a service: one datagram a message (sd_notify(3))."""

from __future__ import annotations

import socket
from contextlib import suppress


def tell(address: str, words: str) -> None:
    """Send a message such as `READY=1` to systemd's socket; nothing where there is none, or nobody listens."""
    if not address:
        return
    # A leading @ stands for a name that is in no folder.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.sendto(words.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)
