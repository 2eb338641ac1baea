"""The key with which this machine's own commands talk to the gateway."""

from __future__ import annotations

from sqlmodel import select

from appliance.accounts.api_keys import digest
from appliance.accounts.keys import create, works
from appliance.accounts.tables import ApiKey
from appliance.config.paths import Home
from appliance.store.files import write_atomic
from appliance.store.sessions import session
from appliance.units import now_us

OWNER = "admin"


def local_key(home: Home) -> str:
    """The key, from its file; made when there is none, or when the one there is no longer good."""
    file = home.secrets / "cli.key"
    home.prepare()
    with session(home.database, alone=True) as opened:
        if file.exists():
            secret = file.read_text().strip()
            found = opened.exec(select(ApiKey).where(ApiKey.digest == digest(secret))).first()
            if found is not None and works(found, now_us()):
                return secret
        _, secret = create(opened, OWNER)
        write_atomic(file, secret.encode() + b"\n", 0o600)
    return secret
