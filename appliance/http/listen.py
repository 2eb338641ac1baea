"""A TCP port of ours."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Final

from appliance.errors import ApplianceError

BACKLOG: Final = 2048


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening socket; `setting` is what says which port. Raises port-taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL):
            raise
        raise ApplianceError(
            "port-taken",
            f"Port {port} on {host} cannot be used: {error.strerror}.",
            f"End the program that uses it, or set {setting}.",
        ) from error
    listener.listen(BACKLOG)
    return listener


def listen_unix(path: str) -> socket.socket:
    """A listening UNIX socket that only this user may use, in place of what a killed predecessor has left there."""
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener


def listeners(host: str, port: int, setting: str, path: str) -> list[socket.socket]:
    """A TCP port, and a UNIX socket beside it where one is named. Raises port-taken."""
    tcp = listen(host, port, setting)
    return [tcp, listen_unix(path)] if path else [tcp]
