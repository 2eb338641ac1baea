"""A whole box for what is measured of sign-on and the chat page: real processes in front of the fake engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from appliance.chat.install import install
from appliance.config.paths import cache_folder
from appliance.policy.roles import Role
from bench import tools
from tests.support.box import Box
from tests.support.chat_page import ChatPage
from tests.support.lan import Network, NetworkSignOn
from tests.support.sign_on import SignOn

# A person who comes back in each round is somebody who has been there.
PERSON = "anna"


@dataclass(frozen=True)
class ChatBox:
    """A box that is up. `network` is there where Caddy stands in front; `page` where there is a chat page."""

    box: Box
    sign_on: SignOn
    page: ChatPage | None = None
    network: Network | None = None

    @property
    def origin(self) -> str:
        """The chat page's address as browsers know it."""
        assert self.page is not None
        return self.page.origin if self.network is None else self.network.origin

    def processes(self) -> dict[str, int]:
        """The ids of its processes by their names, the supervisor's among them."""
        status: dict[str, Any] = self.box.document("status")
        found = {str(one["name"]): int(one["pid"]) for one in status["processes"]}
        return {"supervisor": int(status["supervisor"]), **found}


@contextmanager
def chat_box(*, page: bool, caddy: bool) -> Iterator[tuple[ChatBox, tools.Engine]]:
    """A box with an owner and one more person, ended and removed afterwards.

    With or without the chat page, with or without Caddy. Installs the page where it is not. Raises BenchError where
    Caddy is wanted and not there.
    """
    if caddy and not has_caddy():
        raise tools.BenchError("Caddy is not installed: sudo apt-get install caddy")
    if page:
        install(cache_folder(), lambda what, done, total: None)
    with TemporaryDirectory(prefix="bench-") as folder, tools.Engine() as engine:
        made = _made(Box(Path(folder)), page=page, caddy=caddy)
        made.box.configure(_settings(made, engine.port))
        made.sign_on.person("olga", Role.OWNER)
        made.sign_on.person(PERSON)
        made.box.run("up", "--no-prove", timeout=400)
        try:
            yield made, engine
        finally:
            made.box.run("down")


def has_caddy() -> bool:
    """Whether Caddy is installed."""
    return bool(shutil.which("caddy") or shutil.which("caddy", path="/usr/bin:/usr/sbin"))


def _made(box: Box, *, page: bool, caddy: bool) -> ChatBox:
    network = Network(box) if caddy else None
    sign_on = SignOn(box) if network is None else NetworkSignOn(box, network.identity_port, network=network)
    return ChatBox(box, sign_on, ChatPage(sign_on) if page else None, network)


def _settings(made: ChatBox, engine_port: int) -> str:
    identity = made.sign_on.settings if made.network is None else made.network.settings
    chat = "" if made.page is None else f"[chat]\nenabled = true\nport = {made.page.port}\n"
    return f'{identity}{chat}[engines.chat]\nurl = "http://127.0.0.1:{engine_port}/v1"\nmodel = "{tools.MODEL}"\n'
