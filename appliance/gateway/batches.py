"""The batches of one appliance: each a file that is written anew when it changes, all of them in memory.

What people ask for is answered from memory. A command that cancels one leaves a mark beside its file, which
`gateway.batch_runner` looks for: so one process alone writes the batches.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.policy.batches import CANCELLED, STOPPABLE, Batch, Status, batch_from_json
from appliance.policy.principals import Principal
from appliance.store.files import write_atomic

_PREFIX: Final = "batch_"
_MODE: Final = 0o600
# Of one person, that have not ended.
MOST_AT_ONCE: Final = 100


def new_id() -> str:
    """An id that nobody can guess."""
    return f"{_PREFIX}{secrets.token_hex(12)}"


def read_all(folder: Path) -> list[Batch]:
    """All batches on disk, oldest first. One that cannot be read is noted and left alone."""
    found = []
    for path in folder.glob(f"{_PREFIX}*.json"):
        try:
            found.append(batch_from_json(path.read_bytes()))
        except ValueError as error:
            note("batch-unreadable", path.stem, error=str(error))
    return sorted(found, key=lambda one: (one.created_us, one.id))


def journal_of(folder: Path, id: str) -> Path:
    """Where the finished lines of a batch are until it ends."""
    return folder / f"{id}.work.jsonl"


def mark(folder: Path, id: str) -> Path:
    """The mark that says that a batch is to be cancelled."""
    return folder / f"{id}.cancel"


class Batches:
    """The batches in one folder, for the only process that writes them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed = asyncio.Event()
        self._all = {one.id: one for one in read_all(folder)}
        self._writing = asyncio.Lock()
        for batch in self._all.values():
            if batch.ended:
                self.clear(batch.id)

    def __getitem__(self, id: str) -> Batch:
        return self._all[id]

    def find(self, id: str, principal: Principal) -> Batch:
        """A batch of this person. Raises batch-not-found, also for what is somebody else's."""
        batch = self._all.get(id)
        if batch is None or (batch.owner, batch.team) != (principal.name, principal.team):
            raise ApplianceError(
                "batch-not-found", f"You have no batch '{id[:60]}'.", "GET /v1/batches lists yours.", param="batch_id"
            )
        return batch

    def of(self, principal: Principal) -> list[Batch]:
        """All batches of this person, newest first."""
        mine = (principal.name, principal.team)
        return [one for one in reversed(self._all.values()) if (one.owner, one.team) == mine]

    def unfinished(self) -> list[Batch]:
        """Those that have not ended, oldest first."""
        return [one for one in self._all.values() if not one.ended]

    def reader_of(self, file_id: str) -> str | None:
        """The id of a batch that reads a file and has not ended."""
        return next((one.id for one in self.unfinished() if one.input_file_id == file_id), None)

    async def add(self, batch: Batch) -> None:
        """Take a new one on. Raises too-many-requests, and OSError when it cannot be kept."""
        if sum(one.owner == batch.owner for one in self.unfinished()) >= MOST_AT_ONCE:
            raise ApplianceError(
                "too-many-requests",
                f"You have {MOST_AT_ONCE} batches that have not ended, which is the limit.",
                "Wait for one to end, or cancel one.",
                retry_after_s=60,
            )
        async with self._writing:
            await asyncio.to_thread(self._write, batch)
        self._all[batch.id] = batch
        self.changed.set()

    def change_soon(self, id: str, how: Callable[[Batch], Batch]) -> None:
        """Change a batch in memory alone: it is on the disk with the next `save`."""
        self._all[id] = how(self._all[id])

    async def save(self, id: str) -> None:
        """Have a batch on the disk as it is now. Raises OSError."""
        async with self._writing:
            await asyncio.to_thread(self._write, self._all[id])

    def _write(self, batch: Batch) -> None:
        write_atomic(self.folder / f"{batch.id}.json", batch.to_json(), _MODE)

    def clear(self, id: str) -> None:
        """Remove what only a batch that has not ended needs."""
        journal_of(self.folder, id).unlink(missing_ok=True)
        mark(self.folder, id).unlink(missing_ok=True)

    def mark(self, id: str) -> None:
        """Have a batch cancelled."""
        mark(self.folder, id).touch(mode=_MODE)
        if self._all[id].status in STOPPABLE:
            self.change_soon(id, lambda one: one.stopped(Status.CANCELLED, CANCELLED, int(time.time())))
        self.changed.set()
