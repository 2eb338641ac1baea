"""The chat page as processes to keep up: Open WebUI, and ahead of it the Redis by which sign-outs act at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from appliance.config.paths import Home
from appliance.config.settings import ChatSettings
from appliance.supervise.spec import Probe, ProcessSpec

PAGE: Final = "chat-page"
REDIS: Final = "chat-redis"
# Answers that stream come first.
_NICE: Final = 3
# The first start makes its database and compiles all that it imports, on a machine whose engine starts as well.
_START_S: Final = 300.0


def redis_program() -> str | None:
    """The system's Redis; None where it is not installed."""
    return shutil.which("redis-server")


def redis_socket(home: Home) -> Path:
    """Where the chat page's Redis listens."""
    return home.socket(REDIS)


def processes(home: Home, chat: ChatSettings, python: Path, redis: str | None) -> tuple[ProcessSpec, ...]:
    """The processes of a chat page that is installed as `python`; `redis` is that program, None for none."""
    page = ProcessSpec(
        name=PAGE,
        argv=_page_arguments(python, chat),
        probe=Probe(path="/health", host=chat.host, port=chat.port),
        log=str(home.logs / f"{PAGE}.log"),
        nice=_NICE,
        start_s=_START_S,
        environment=str(home.chat_environment),
    )
    return (page,) if redis is None else (_redis(home, redis), page)


def _page_arguments(python: Path, chat: ChatSettings) -> tuple[str, ...]:
    # -P: no folder that we happen to be in becomes the code that runs.
    server = (str(python), "-P", "-m", "uvicorn", "open_webui.main:app")
    address = ("--host", chat.host, "--port", str(chat.port))
    # Its access log would tell who opened which conversation, and has codes of sign-on in its addresses.
    return (*server, *address, "--workers", "1", "--no-server-header", "--no-access-log")


def _redis(home: Home, program: str) -> ProcessSpec:
    socket = str(redis_socket(home))
    return ProcessSpec(
        name=REDIS,
        argv=(
            program,
            # On no port: whoever may open the socket is this user.
            *("--port", "0", "--unixsocket", socket, "--unixsocketperm", "600"),
            # Who has signed out must stay so when it is started again.
            *("--dir", str(home.chat / "redis"), "--appendonly", "yes", "--save", ""),
            *("--daemonize", "no", "--maxmemory", "64mb", "--maxmemory-policy", "volatile-ttl"),
        ),
        probe=Probe(path="", socket=socket, kind="redis"),
        log=str(home.logs / f"{REDIS}.log"),
        nice=_NICE,
        stale=(socket,),
    )
