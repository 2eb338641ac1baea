"""Where the parts of the request path are put together: the only module that names them all."""

from __future__ import annotations

import errno
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from appliance.accounts.resolve import Credentials
from appliance.cloud.gate import CloudGate
from appliance.config.paths import Home
from appliance.deployment import Service
from appliance.errors import ApplianceError
from appliance.gateway.app import Application, BoxFactory
from appliance.gateway.batch_runner import working
from appliance.gateway.batches import Batches
from appliance.gateway.chat import Box
from appliance.gateway.files import Files
from appliance.gateway.limits import UnderWay
from appliance.gateway.reload import reloading
from appliance.gateway.switchboard import Switchboard
from appliance.gateway.watch import Watchman
from appliance.ledger.writer import LedgerWriter
from appliance.store import schema
from appliance.store.locks import Lock

# Seconds that answers under way get to finish when the gateway is told to end.
_GRACE_S = 5
_BACKLOG = 2048


def serve(service: Service) -> None:
    """Run the request path until a signal ends it.

    Raises already-serving, port-taken, state-read-only or a database error before
    the first request is taken.
    """
    home = Home(config=Path(service.config), state=Path(service.state))
    home.prepare()
    lock = Lock(home.run / "serve.lock")
    if not lock.acquire():
        raise ApplianceError(
            "already-serving",
            f"Another gateway works on {home.state}.",
            "Stop it with `appliance down`, or use another --state.",
        )
    listener = _listen(service.host, service.port)
    schema.ensure(home.database)

    @asynccontextmanager
    async def open_box() -> AsyncIterator[Box]:
        ledger = LedgerWriter(home.database)
        credentials = Credentials(home.database)
        switchboard = Switchboard(service.deployment, service.engine_wait_s, service.cloud)
        under_way = UnderWay(service.requests_at_once)
        # What start-up made lives for ever: garbage collection need not walk it again and again.
        gc.collect()
        gc.freeze()
        try:
            with reloading(home.deployment, service.remote, switchboard):
                gate = CloudGate(service.cloud)
                box = Box(
                    credentials,
                    switchboard,
                    ledger,
                    under_way,
                    Watchman(),
                    service.max_body,
                    gate,
                    Files(home.files, service.max_file),
                    Batches(home.files),
                )
                async with working(box, service.batch_lines):
                    yield box
        finally:
            switchboard.close()
            ledger.close()
            credentials.close()

    _server(open_box).run(sockets=[listener])


def _server(open_box: BoxFactory) -> uvicorn.Server:
    """The HTTP server around the gateway."""
    return uvicorn.Server(
        uvicorn.Config(
            Application(open_box),
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=_GRACE_S,
            backlog=_BACKLOG,
        )
    )


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises port-taken."""
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
            "End the program that uses it, or set gateway.port.",
        ) from error
    listener.listen(_BACKLOG)
    return listener
