"""How many people use the chat page, and when that matters for its licence."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from appliance.store.schema import read_only
from appliance.units import now_us

# Open WebUI's licence, clause 4: up to so many people in 30 days its name and logo may be changed without asking.
LICENCE_PEOPLE: Final = 50
DAYS: Final = 30
# Everybody but its built-in account. Times are in seconds since 1970.
_SQL: Final = "SELECT count(*) FROM user WHERE role != 'admin' AND last_active_at >= ?"


def active(folder: Path) -> int:
    """The people who used the chat page in the last 30 days, as it has counted them itself; 0 before the first."""
    file = folder / "webui.db"
    if not file.exists():
        return 0
    since = now_us() // 1_000_000 - DAYS * 86_400
    try:
        with closing(read_only(file)) as connection:
            return int(connection.execute(_SQL, (since,)).fetchone()[0])
    except sqlite3.Error:
        # It is being made, or upgraded: it is counted the next time.
        return 0


def licence(people: int) -> str | None:
    """What is to be said about the licence with so many people; None for nothing."""
    if people <= LICENCE_PEOPLE:
        return None
    return (
        f"{people} people used the chat page in {DAYS} days. With more than {LICENCE_PEOPLE}, Open WebUI's licence "
        "lets nobody change its name or logo without permission. The appliance leaves both as they are; keep it so."
    )
