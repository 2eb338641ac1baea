"""Where the parts of the request path are put together: the only module that names them all."""

from __future__ import annotations

import errno
import gc
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from appliance import deployment
from appliance.accounts.resolve import Credentials
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.engine.client import EngineClient
from appliance.errors import ApplianceError
from appliance.gateway.app import Application
from appliance.gateway.chat import Box
from appliance.gateway.limits import UnderWay
from appliance.ledger.writer import LedgerWriter
from appliance.store import handover, schema
from appliance.store.locks import Lock

# Seconds that answers under way get to finish when the gateway is told to end.
_GRACE_S = 5
_BACKLOG = 2048


def serve(home: Home, settings: Settings, port: int | None) -> None:
    """Run the request path until a signal ends it.

    Raises no-engine, already-serving, port-taken, state-read-only or a database error before
    the first request is taken.
    """
    home.prepare()
    served = served_by(home, settings)
    lock = Lock(home.run / "serve.lock")
    if not lock.acquire():
        raise ApplianceError(
            "already-serving",
            f"Another gateway works on {home.state}.",
            "Stop it with `appliance down`, or use another --state.",
        )
    listener = _listen(settings.gateway.host, port or settings.gateway.port)
    schema.ensure(home.database)

    @asynccontextmanager
    async def open_box() -> AsyncIterator[Box]:
        ledger = LedgerWriter(home.database)
        credentials = Credentials(home.database)
        clients = {engine.role: EngineClient(engine, settings.gateway.engine_wait_s) for engine in served.engines}
        under_way = UnderWay(settings.gateway.requests_at_once)
        _calm_collector()
        try:
            yield Box(credentials, served, clients, ledger, under_way, settings.gateway.max_body)
        finally:
            for client in clients.values():
                await client.close()
            ledger.close()
            credentials.close()

    server = uvicorn.Server(
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
    server.run(sockets=[listener])


def served_by(home: Home, settings: Settings) -> deployment.Deployment:
    """The deployment on disk, and the engines behind a URL from the settings.

    Raises no-engine or deployment-unreadable.
    """
    stored = handover.read(home.deployment)
    remote = [
        remote_engine(role, url=wanted.url, model=wanted.model, api_key_file=wanted.api_key_file)
        for role, wanted in settings.engines.items()
        if wanted.url is not None and wanted.model is not None
    ]
    roles = {engine.role for engine in remote}
    engines = (*remote, *(engine for engine in stored.engines if engine.role not in roles))
    if not engines:
        raise ApplianceError(
            "no-engine",
            "No engine is deployed and none is named in the settings.",
            "Run `appliance up`, or set [engines.chat] url.",
        )
    return deployment.Deployment(release=stored.release, engines=engines)


def remote_engine(role: str, url: str, model: str, api_key_file: str | None) -> deployment.Engine:
    """An engine that somebody else runs."""
    return deployment.Engine(
        role=role,
        model=model,
        names=tuple(dict.fromkeys((role, model))),
        upstream_model=model,
        url=url,
        api_key_file=api_key_file,
    )


def _calm_collector() -> None:
    """Leave what start-up made out of garbage collection, and collect less often.

    A request makes many short-lived objects and no cycles to speak of: the default settings
    walk all modules again and again for nothing, a tenth of the gateway's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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
