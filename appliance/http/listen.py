"""A TCP port of ours."""

from __future__ import annotations

import errno
import socket
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
