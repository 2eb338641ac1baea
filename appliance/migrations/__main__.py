"""Bring one database file to the newest schema: `python -m appliance.migrations FILE`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from alembic import command
from alembic.config import Config

from appliance.store.locks import Lock

_POLL_S = 0.05
_SCRIPTS = Path(__file__).parent


def configuration(database: Path) -> Config:
    """Alembic's configuration for a database file."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    # Alembic interpolates %: a path may hold one.
    config.set_main_option("sqlalchemy.url", f"sqlite:///{database}".replace("%", "%%"))
    return config


def main(database: Path) -> None:
    """Upgrade to the newest revision; whoever comes second at the same time waits, and finds it done."""
    lock = Lock(database.with_name(f"{database.name}.lock"))
    while not lock.acquire():
        time.sleep(_POLL_S)
    try:
        command.upgrade(configuration(database), "head")
    finally:
        lock.release()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
