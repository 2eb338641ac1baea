"""The key with which this machine's own commands talk to the gateway."""

from __future__ import annotations

from pathlib import Path

from sqlmodel import select

from appliance.accounts.api_keys import digest
from appliance.accounts.keys import create, works
from appliance.accounts.tables import ApiKey
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.config.paths import Home
from appliance.store.files import write_atomic
from appliance.units import now_us

OWNER = "admin"


def key_file(home: Home) -> Path:
    """Where it is kept."""
    return home.secrets / "cli.key"


def local_key(home: Home) -> str:
    """The key, from its file; made when there is none, or when the one there is no longer good."""
    file = key_file(home)
    home.prepare()
    with acting(home) as acts:
        if file.exists():
            secret = file.read_text().strip()
            found = acts.session.exec(select(ApiKey).where(ApiKey.digest == digest(secret))).first()
            if found is not None and works(found, now_us()):
                return secret
        made, secret = create(acts.session, OWNER)
        acts.note(Action.KEY_CREATED, made.id, owner=OWNER)
        write_atomic(file, secret.encode() + b"\n", 0o600)
    return secret
