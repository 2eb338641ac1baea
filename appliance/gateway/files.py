"""Files that people keep here for their batches: the bytes in one file, and beside it what is known of it."""

from __future__ import annotations

import asyncio
import errno
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.policy.principals import Principal
from appliance.store.files import Staged, sync_folder, write_atomic
from appliance.units import MIB, show_bytes

# What stays free on the disk: the ledger needs room, or nobody is answered any more.
SPARE: Final = 64 * MIB
_MODE: Final = 0o600
_PREFIX: Final = "file-"


@dataclass(frozen=True, slots=True)
class Stored:
    """What is known of a file: `size` in bytes, `created_at` in seconds since 1970 UTC, and whose it is."""

    id: str
    size: int
    created_at: int
    filename: str
    purpose: str
    owner: str
    team: str

    def shown(self) -> dict[str, Any]:
        """OpenAI's form."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": self.created_at,
            "expires_at": None,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


def new_id() -> str:
    """An id that nobody can guess."""
    return f"{_PREFIX}{secrets.token_hex(12)}"


class Files:
    """The files in one folder, for the only process that writes them. `largest` in bytes is the limit for one."""

    def __init__(self, folder: Path, largest: int) -> None:
        self.folder = folder
        self.largest = largest
        self._known: dict[str, Stored] = {}
        self._promised = 0
        folder.mkdir(mode=0o700, exist_ok=True)
        for path in sorted(folder.glob(f"{_PREFIX}*.json")):
            try:
                stored = Stored(**orjson.loads(path.read_bytes()))
            except (TypeError, orjson.JSONDecodeError):
                note("file-unreadable", path.stem)
                continue
            self._known[stored.id] = stored
        self._sweep()

    def _sweep(self) -> None:
        """Remove what a killed process left: half a file, or bytes that nothing is known of."""
        for path in self.folder.iterdir():
            torn = path.name.startswith(".")
            if torn or (path.name.startswith(_PREFIX) and not path.suffix and not self._facts(path.name).exists()):
                path.unlink()

    def path(self, id: str) -> Path:
        """Where a file's bytes are."""
        return self.folder / id

    def find(self, id: str, principal: Principal) -> Stored:
        """A file of this person. Raises file-not-found, also for what is somebody else's."""
        stored = self._known.get(id)
        if stored is None or (stored.owner, stored.team) != (principal.name, principal.team):
            raise ApplianceError(
                "file-not-found", f"You have no file '{id[:60]}'.", "GET /v1/files lists yours.", param="file_id"
            )
        return stored

    def of(self, principal: Principal) -> list[Stored]:
        """All files of this person, oldest first."""
        mine = (principal.name, principal.team)
        found = [one for one in self._known.values() if (one.owner, one.team) == mine]
        return sorted(found, key=lambda one: (one.created_at, one.id))

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Keep room for so many bytes while the block runs. Raises disk-full where there is none, or none is left."""
        if shutil.disk_usage(self.folder).free < self._promised + size + SPARE:
            raise no_room()
        self._promised += size
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise no_room() from error
        finally:
            self._promised -= size

    def stage(self, id: str) -> Staged:
        """Where a new file is written to."""
        return Staged(self.path(id), _MODE)

    def write(self, staged: Staged, stored: Stored) -> None:
        """Have what was staged, and what is known of it, on the disk for good: for a thread, and then comes `know`."""
        staged.sync()
        staged.put()
        write_atomic(self._facts(stored.id), orjson.dumps(stored), _MODE)

    def know(self, stored: Stored) -> None:
        """From now on the file is there for its owner."""
        self._known[stored.id] = stored

    async def forget(self, stored: Stored) -> None:
        """Delete a file for good."""
        self._known.pop(stored.id, None)
        await asyncio.to_thread(self._remove, stored)

    def _remove(self, stored: Stored) -> None:
        self._facts(stored.id).unlink(missing_ok=True)
        self.path(stored.id).unlink(missing_ok=True)
        sync_folder(self.folder)

    def _facts(self, id: str) -> Path:
        return self.folder / f"{id}.json"


def too_large(largest: int) -> ApplianceError:
    """The error for a file over the limit."""
    return ApplianceError(
        "body-too-large",
        f"The file is over the limit of {show_bytes(largest)}.",
        "Split it into several batches, or let the admin raise gateway.max_file.",
        param="file",
    )


def no_room() -> ApplianceError:
    """The error for a file that the disk does not hold."""
    return ApplianceError(
        "disk-full",
        "There is not enough room on the disk for the file.",
        "Delete files that are no longer needed, or ask your admin for room.",
        retry_after_s=300,
    )


def now_s() -> int:
    """This instant, in whole seconds since 1970 UTC."""
    return int(time.time())
