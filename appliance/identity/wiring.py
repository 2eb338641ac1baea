"""Where the parts of sign-on are put together, and run as a process of its own."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import uvicorn

from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.http.listen import listeners
from appliance.identity.app import Application, Threads
from appliance.identity.pages import Pages
from appliance.identity.services import Keys, Services
from appliance.identity.watch import Watch
from appliance.store.locks import Lock
from appliance.store.sessions import Sessions

_THREADS: Final = 8
_GRACE_S: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """All that sign-on is told when it starts: where its files are, where it listens, and what it is called.

    `socket` is the UNIX socket at which it listens too, for our own proxy alone; empty where there is none. `landing`
    is where people go who signed in on their way to nothing else: a page of ours, or a whole address.
    """

    config: str
    state: str
    host: str
    port: int
    issuer: str
    socket: str = ""
    landing: str = "/account"

    @property
    def inside(self) -> str:
        """Its address on this machine, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def to_json(self) -> str:
        """One line of text."""
        return json.dumps(asdict(self))


def place_from_json(text: str) -> Place:
    """Read what `Place.to_json` wrote."""
    return Place(**json.loads(text))


def serve(place: Place) -> None:
    """Run sign-on until a signal ends it.

    Raises already-serving, port-taken, state-read-only, signing-keys-bad or a database error before the first request
    is taken.
    """
    home = Home(config=Path(place.config), state=Path(place.state))
    home.prepare()
    lock = Lock(home.run / "identity.lock")
    if not lock.acquire():
        raise ApplianceError(
            "already-serving",
            f"Another sign-on works on {home.state}.",
            "Stop it with `appliance down`, or use another --state.",
        )
    sockets = listeners(place.host, place.port, "identity.port", place.socket)
    sessions = Sessions(home.database)
    watch = Watch(home)
    services = Services(home, place.issuer, place.inside, sessions, Keys(home), Pages(), watch.wake, place.landing)
    services.own_proxy = bool(place.socket)
    watch.services = services
    with ThreadPoolExecutor(_THREADS, "usual") as usual, ThreadPoolExecutor(os.cpu_count() or 1, "slow") as slow:
        watch.start()
        try:
            _server(Application(services, Threads(usual, slow))).run(sockets=sockets)
        finally:
            watch.stop()
    sessions.close()


def _server(application: Application) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            application,
            http="httptools",
            loop="uvloop",
            ws="none",
            lifespan="off",
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )
