"""What belongs in a backup, where it may go, and how long it is kept: as values (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

FORMAT: Final = 1

# SQLite databases: taken as they are at one instant, while others write.
DATABASES: Final = ("appliance.db", "chat/webui.db")
# Whole folders of files that are written once and never changed: a second name for each is enough.
FIXED: Final = ("files", "chat/uploads")
# Copied while the chat page holds still: its index and the database of it must be of one instant.
HELD: Final = ("chat/vector_db",)
# Copied as they are: small, and replaced whole by whoever writes them. The anchor before the database that it is about:
# an audit log that goes further than its anchor is in order, the other way round something was cut off.
PLAIN: Final = ("audit.anchor", "audit.key", "public-keys.json", "cloud-off", "secrets", "lan")
# The key of the backups themselves: who restores has it.
LEFT_OUT: Final = ("secrets/backup.key",)
# What a restored box keeps of its own: models are known by their hashes, the rest is about this machine.
# The last is what a file system of its own has.
KEPT: Final = ("backup", "logs", "models", "run", "update", "lost+found")
ASIDE: Final = "before-restore-"


@dataclass(frozen=True, slots=True)
class Retention:
    """How many of the newest backups stay: one a day, a week, a month."""

    daily: int
    weekly: int
    monthly: int


@dataclass(frozen=True, slots=True)
class About:
    """What a backup says of itself. `made_at` in UTC; `rows` by database and table; `revision` of our own schema."""

    made_at: str
    version: str
    revision: str
    rows: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """The document that lies in the backup."""
        return {
            "format": FORMAT,
            "made_at": self.made_at,
            "version": self.version,
            "revision": self.revision,
            "rows": self.rows,
        }


class NewerError(ValueError):
    """It was made by a version that knew more."""


def read_about(document: Any) -> About:
    """The reverse of `About.to_json`. Raises ValueError for what is no backup of ours, NewerError for a newer form."""
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise ValueError("it is no backup of an appliance")
    if document["format"] > FORMAT:
        raise NewerError(document["format"])
    try:
        return About(document["made_at"], document["version"], document["revision"], document["rows"])
    except KeyError as missing:
        raise ValueError(f"it does not say its {missing.args[0]}") from missing


def is_folder(target: str) -> bool:
    """Whether backups go to a folder of this machine, and not to an address that restic knows."""
    return target.startswith("/")
