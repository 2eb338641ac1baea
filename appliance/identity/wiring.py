"""Where the parts of sign-on are put together, and run as a process of its own."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn

from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.http.listen import listeners
from appliance.identity import leavers, vouching
from appliance.identity.app import Application, Threads
from appliance.identity.pages import Pages
from appliance.identity.place import Place
from appliance.identity.repeating import Repeating
from appliance.identity.services import Keys, Services
from appliance.identity.upstream import UpstreamClient
from appliance.identity.watch import Watch
from appliance.store.locks import Lock
from appliance.store.sessions import Sessions

_THREADS: Final = 8
_AWAY_THREADS: Final = 4
_GRACE_S: Final = 5


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
    services.upstreams = {one.name: UpstreamClient(one) for one in place.upstreams}
    services.ages = place.ages
    watch.services = services
    looks = _looks(services, place)
    # Those who wait for the directory do not keep those waiting whose password is here.
    slow_threads = (os.cpu_count() or 1) + (0 if services.directory is None else _AWAY_THREADS)
    with (
        ThreadPoolExecutor(_THREADS, "usual") as usual,
        ThreadPoolExecutor(slow_threads, "slow") as slow,
        ThreadPoolExecutor(_AWAY_THREADS, "away") as away,
    ):
        watch.start()
        try:
            _server(Application(services, Threads(usual, slow, away))).run(sockets=sockets)
        finally:
            watch.stop()
            for one in looks:
                one.stop()
    sessions.close()


def _looks(services: Services, place: Place) -> list[Repeating]:
    """Who looks after those who sign in on another source's word, and what the removed have left behind."""
    # Not at once: what the directory says first must have been heard.
    ages = Repeating(
        "vouching", "vouching-not-checked", vouching.LOOK_S, partial(vouching.look_after, services), at_once=False
    )
    looks = [ages]
    if place.chat_port:
        task = partial(leavers.look_after, services, place.chat_host, place.chat_port)
        looks.append(Repeating("leavers", "leavers-not-forgotten", leavers.LOOK_S, task))
    if place.directory is not None:
        # It takes memory that most have no use for.
        from appliance.identity import directory_sign_in
        from appliance.identity.directory import DirectoryClient

        services.directory = DirectoryClient(place.directory)
        looks.append(directory_sign_in.watch(services, services.directory))
    for one in looks:
        one.start()
    return looks


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
