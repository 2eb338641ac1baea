"""Locked on first contact: what a row of the catalogue leaves open is settled once, and then holds.

This is not a proof of where a file comes from: whoever is asked first is believed. It is why
what the row itself says always outranks what is recorded here, and both outrank the hub.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from appliance.catalog.models import Model
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic
from appliance.store.locks import turn

FILE = "locks.json"


@dataclass(frozen=True, slots=True)
class Locked:
    """What was settled for one model: the hub's commit, bytes, SHA-256, when (ISO 8601), and who said so.

    `how` is `hub` (the hub stated the hash before the download) or `measured` (nobody did).
    """

    revision: str
    size: int
    sha256: str
    locked_at: str
    how: str


def read(folder: Path) -> dict[str, Locked]:
    """What was settled so far, by model id. Raises locks-unreadable."""
    file = folder / FILE
    try:
        return {model: Locked(**entry) for model, entry in json.loads(file.read_text()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ApplianceError(
            "locks-unreadable",
            f"{file}, which says what models were settled on, cannot be read: {error}.",
            "Restore it from a backup. Without it the next pull believes whoever answers.",
        ) from error


def record(folder: Path, model_id: str, locked: Locked) -> None:
    """Settle one model; safe with other pulls under way."""
    with turn(folder / f"{FILE}.lock", fleeting=True):
        known = read(folder) | {model_id: locked}
        text = json.dumps({model: asdict(entry) for model, entry in sorted(known.items())}, indent=2)
        write_atomic(folder / FILE, text.encode() + b"\n", 0o600)


def fill_in(model: Model, locked: Locked | None) -> Model:
    """A row with what was settled in the places that it leaves open."""
    if locked is None:
        return model
    return replace(model, size=model.size or locked.size, sha256=model.sha256 or locked.sha256)
