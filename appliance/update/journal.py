"""What is on record of an update while it is under way, and of all that there were: outside the databases.

Each step is on the disk before it begins and once it is done, so that whoever finds an update cut off knows how far it
may have come.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from appliance.config.paths import Home
from appliance.store.files import sync_folder, write_atomic
from appliance.units import now_us

BEGUN, DONE = "begun", "done"
# How an update ended: as wished; with the version and the data of before; before anything was changed.
CARRIED_OUT, UNDONE, REFUSED = "done", "undone", "refused"
UPDATE, ROLLBACK = "update", "rollback"


@dataclass(frozen=True, slots=True)
class Record:
    """One update. `old` and `new` are names of releases in the folder `code`; instants in microseconds since 1970.

    `steps` are their name, `begun` or `done`, and when. `data` says that going back brings old data back; `back` is
    where such data lie.
    """

    id: str
    kind: str
    code: str
    old: str
    new: str
    from_version: str
    to_version: str
    serial: int
    steps: tuple[tuple[str, str, int], ...] = ()
    back: str = ""
    reason: str = ""
    outcome: str = ""
    ended: int = 0

    def has(self, step: str, state: str = BEGUN) -> bool:
        """Whether a step has come so far."""
        return any((name, how) == (step, state) for name, how, _ in self.steps)

    @property
    def began(self) -> int:
        return self.steps[0][2] if self.steps else self.ended

    @property
    def closed_s(self) -> float:
        """Seconds that nobody was served, as far as is known here."""
        drained = [at for name, how, at in self.steps if (name, how) == ("drain", BEGUN)]
        return round((self.ended - drained[0]) / 1e6, 1) if drained and self.ended else 0.0


def folder_of(home: Home, id: str) -> Path:
    """What belongs to one update: the copy of the state that was made before it."""
    return home.update / id


def journal(home: Home) -> Path:
    return home.update / "journal.json"


def write(home: Home, record: Record) -> None:
    """Have it on the disk."""
    write_atomic(journal(home), json.dumps(asdict(record), indent=1).encode(), 0o600)


def find(home: Home) -> Record | None:
    """The update that is under way, or was cut off; None where there is none."""
    try:
        return _record(json.loads(journal(home).read_bytes()))
    except FileNotFoundError:
        return None


def note(home: Home, record: Record, step: str, state: str) -> Record:
    """The record with one more step, on the disk."""
    now = replace(record, steps=(*record.steps, (step, state, now_us())))
    write(home, now)
    return now


def close(home: Home, record: Record, outcome: str) -> Record:
    """Put an update that has ended into the history. Safe to do again."""
    ended = replace(record, outcome=outcome, ended=record.ended or now_us())
    known = history(home)
    if ended.id not in {one.id for one in known}:
        with (home.update / "history.jsonl").open("ab") as file:
            file.write(json.dumps(asdict(ended)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync_folder(home.update)
    return ended


def forget(home: Home) -> None:
    """Nothing is under way any more."""
    journal(home).unlink(missing_ok=True)
    sync_folder(home.update)


def history(home: Home) -> list[Record]:
    """All updates that have ended, the oldest first. A line that a power cut tore is passed over."""
    try:
        lines = (home.update / "history.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            found.append(_record(json.loads(line)))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def highest_serial(home: Home) -> int:
    """Of all releases that were ever installed by an update."""
    return max((one.serial for one in history(home) if one.outcome == CARRIED_OUT), default=0)


def _record(said: dict[str, Any]) -> Record:
    return Record(**{**said, "steps": tuple((name, how, at) for name, how, at in said["steps"])})
