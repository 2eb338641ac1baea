"""What is made before the chat page starts: its folders, its secrets, its environment and its registration."""

from __future__ import annotations

import json

from appliance.accounts import chat_secrets
from appliance.chat import registration
from appliance.chat.environment import Terms, variables
from appliance.chat.process import redis_program, redis_socket
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.policy.roles import TABLE, Permission
from appliance.store.files import write_atomic

# Where it finds the programs of the system, of which it needs none.
_PATH = "/usr/local/bin:/usr/bin:/bin"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}


def terms(home: Home, settings: Settings) -> Terms:
    """What the page's environment is made from."""
    gateway, identity = settings.gateway, settings.identity
    return Terms(
        origin=settings.chat.origin,
        # Over loopback whatever else it listens on: elsewhere the page's own key is not taken.
        gateway=f"http://{_ANYWHERE.get(gateway.host, gateway.host)}:{gateway.port}/v1",
        sign_on=f"http://{_ANYWHERE.get(identity.host, identity.host)}:{identity.port}",
        folder=str(home.chat),
        scratch=str(home.chat / "tmp"),
        roles=tuple(sorted(TABLE[Permission.CHAT].roles)),
        small="small" in settings.engines,
        embed="embed" in settings.engines,
        redis=str(redis_socket(home)) if redis_program() else "",
    )


def prepare(home: Home, settings: Settings) -> None:
    """Make ready for a start, with the database up to date; where the page is switched off, take its access away.

    Raises chat-secrets-bad or wrong-use.
    """
    if not settings.chat.enabled:
        registration.withdraw(home)
        return
    secrets = chat_secrets.ensure(home)
    for folder in (home.chat, home.chat / "tmp", home.chat / "redis"):
        folder.mkdir(mode=0o700, exist_ok=True)
    found = {"PATH": _PATH, **variables(terms(home, settings), secrets)}
    write_atomic(home.chat_environment, json.dumps(found, indent=2).encode(), 0o600)
    chat = settings.chat
    registration.register(home, registration.wanted(chat.origin, chat.port, secrets.client))
