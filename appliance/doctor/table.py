"""All checks, in the order in which they are told."""

from __future__ import annotations

from typing import Final

from appliance.doctor.check import Check
from appliance.doctor.checks import (
    audit,
    backups,
    books,
    cards,
    certificates,
    chat_page,
    clock,
    connections,
    database,
    disk,
    engines,
    memory,
    owner,
    permissions,
    ports,
    processes,
    secrets,
    settings,
)

CHECKS: Final[tuple[Check, ...]] = (
    processes.CHECK,
    settings.CHECK,
    owner.CHECK,
    ports.CHECK,
    connections.CHECK,
    engines.CHECK,
    cards.CHECK,
    memory.CHECK,
    disk.CHECK,
    clock.CHECK,
    certificates.CHECK,
    permissions.CHECK,
    secrets.CHECK,
    database.CHECK,
    books.CHECK,
    audit.CHECK,
    backups.CHECK,
    chat_page.CHECK,
)
