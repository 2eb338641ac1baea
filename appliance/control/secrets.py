"""The secrets that the box keeps for itself: which there are, and how one takes the place of another.

What can have two values for a moment has them, so that nobody notices. What cannot is refused, or costs the one part
that uses it a restart. The keys that sign tokens belong to sign-on (`identity.keys`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from sqlmodel import select

from appliance.accounts import chat_secrets, keys
from appliance.accounts.api_keys import digest
from appliance.accounts.tables import ApiKey
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.chat import prepare
from appliance.chat.process import PAGE
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control import local_key, running
from appliance.errors import ApplianceError
from appliance.lan import authority
from appliance.store import schema
from appliance.store.files import write_atomic
from appliance.store.locks import turn
from appliance.units import now_us

LOCAL, SIGNING, CHAT, LEAF = "local-key", "signing-keys", "chat-page", "certificate"
# A command that has read the key is over by then.
_OVERLAP_S: Final = 600
# The chat page compiles all that it imports when it starts for the first time.
_BACK_S: Final = 300.0
# What is under way may end by itself for so long.
_GRACE_S: Final = 10.0
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret: what it is for, and what becomes of people when it is replaced. `refused`: why it cannot be."""

    name: str
    meaning: str
    effect: str = ""
    refused: str = ""


SECRETS: Final = (
    Secret(
        LOCAL, "With it this machine's own commands ask the gateway.", "Nobody notices; the old one works 10 minutes."
    ),
    Secret(SIGNING, "With it sign-on signs tokens.", "Nobody notices; the old one still proves what it has signed."),
    Secret(
        CHAT,
        "With them the chat page, sign-on and the gateway know each other.",
        "The chat page starts anew, so it is away for a moment. People stay signed in; the API goes on.",
    ),
    Secret(
        LEAF,
        "With its key the box shows browsers who it is.",
        "Connections from the network break once, for a moment. Devices need trust nothing new.",
    ),
    Secret(
        "chat-page-storage",
        "With it the chat page signs who is signed in, and encrypts their tokens.",
        refused="Whoever is signed in to the chat page would be signed out. If it has to be: `appliance down`, remove "
        "secrets/chat.json in the state folder, `appliance up`.",
    ),
    Secret(
        "certificate-authority",
        "With its key the box vouches for its name; devices trust it.",
        refused="Every device would have to trust another one. If it has to be: `appliance down`, remove the "
        "folder of the name below lan/ in the state folder, `appliance up`.",
    ),
    Secret(
        "audit-key",
        "With it the audit log is chained.",
        refused="All that is on record is proved by it, and would not be any more. If somebody knows it, keep a "
        "copy of the log and its head elsewhere: `appliance audit export`, `appliance audit verify`.",
    ),
    Secret(
        "recovery-key",
        "With it backups are encrypted.",
        refused="The backups that there are can be read by it alone. If somebody knows it: move secrets/backup.key in "
        "the state folder away, set up a new place, and destroy the old one once you trust the new.",
    ),
)


def find(name: str) -> Secret:
    """A secret that can be replaced. Raises wrong-use for another name, secret-kept where it cannot be."""
    found = next((one for one in SECRETS if one.name == name), None)
    if found is None:
        raise ApplianceError(
            "wrong-use", f"There is no secret '{name}'.", f"Known: {', '.join(one.name for one in SECRETS)}."
        )
    if found.refused:
        why, _, instead = found.refused.partition(". ")
        raise ApplianceError("secret-kept", f"The secret {name} is not replaced while the box works: {why}.", instead)
    return found


def is_there(home: Home, settings: Settings, name: str) -> bool:
    """Whether the box has this secret now, or uses it."""
    files = {
        LOCAL: home.secrets / "cli.key",
        SIGNING: home.signing_keys,
        CHAT: home.chat_secrets,
        "chat-page-storage": home.chat_secrets,
        LEAF: leaves(home, settings),
        "certificate-authority": authority.files(home, settings.lan.host)[1],
        "audit-key": home.audit_key,
        "recovery-key": home.backup_key,
    }
    return files[name].exists()


def leaves(home: Home, settings: Settings) -> Path:
    """Where Caddy keeps what it shows to browsers, with its keys."""
    return authority.folder(home, settings.lan.host) / "caddy" / "certificates"


def rotate_local_key(home: Home) -> None:
    """Give this machine's own commands another key; the old one works for a while. Raises audit errors."""
    file = home.secrets / "cli.key"
    with acting(home) as acts:
        before = file.read_text().strip() if file.exists() else ""
        found = acts.session.exec(select(ApiKey).where(ApiKey.digest == digest(before))).first()
        if found is not None and keys.works(found, now_us()) and found.successor is None:
            fresh, secret = keys.rotate(acts.session, found, _OVERLAP_S)
            acts.note(Action.KEY_ROTATED, found.id, owner=found.owner, successor=fresh.id, expires_at=fresh.expires_at)
            write_atomic(file, secret.encode() + b"\n", 0o600)
            return
    # There was none that works, so there is nothing to overlap with.
    local_key.local_key(home)


def rotate_chat_page(home: Home, settings: Settings) -> None:
    """Give the chat page, sign-on and the gateway other secrets to know each other by, and start the page anew.

    What it encrypts with stays, and so does the password of its built-in account, which it only reads once. Raises
    chat-secrets-bad, process-failed or audit errors. Cut off anywhere, it is put right by doing it again, or by the
    next start.
    """
    schema.ensure(home.database)
    with turn(home.run / "chat-secrets.lock"):
        now = chat_secrets.read(home)
        if now is None:
            return
        fresh = replace(chat_secrets.made(), storage=now.storage, admin_password=now.admin_password)
        with acting(home) as acts:
            acts.note(Action.SECRET_CHANGED, CHAT)
        write_atomic(home.chat_secrets, json.dumps(asdict(fresh)).encode(), 0o600)
    prepare.prepare(home, settings)
    restart(home, PAGE)


def rotate_leaf(home: Home, settings: Settings) -> None:
    """Have Caddy make another certificate and key for the box's name. Raises process-failed or audit errors."""
    with acting(home) as acts:
        acts.note(Action.SECRET_CHANGED, LEAF)
    # Caddy makes what it misses when it starts, and keeps what it shows in memory until then.
    shutil.rmtree(leaves(home, settings), ignore_errors=True)
    restart(home, "lan")


def restart(home: Home, name: str) -> None:
    """End a process, which its supervisor then starts anew, and wait until it is ready; nothing where it does not run.

    Raises process-failed.
    """
    before = running.pids(home).get(name)
    if before is None:
        return
    began = time.monotonic()
    _tell(before, signal.SIGTERM)
    while running.pids(home).get(name) in (before, None):
        waited = time.monotonic() - began
        if waited > _BACK_S:
            raise ApplianceError("process-failed", f"'{name}' does not come back.", f"Look at `appliance logs {name}`.")
        # Browsers that hold a line open may keep it from ending for ever.
        if waited > _GRACE_S and running.pids(home).get(name) == before:
            _tell(before, signal.SIGKILL)
        time.sleep(_POLL_S)


def _tell(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
