"""Bring one database file to the newest schema: `python -m appliance.migrations FILE`."""

from __future__ import annotations

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config

_SCRIPTS = Path(__file__).parent


def configuration(database: Path) -> Config:
    """Alembic's configuration for a database file."""
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS))
    # Alembic interpolates %: a path may hold one.
    config.set_main_option("sqlalchemy.url", f"sqlite:///{database}".replace("%", "%%"))
    return config


def main(database: str) -> None:
    """Upgrade to the newest revision."""
    command.upgrade(configuration(Path(database)), "head")


if __name__ == "__main__":
    main(sys.argv[1])
