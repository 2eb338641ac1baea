"""What lies in the models folder that nothing needs any more, and removing it."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.artifacts import locked
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Model
from appliance.deployment import Deployment
from appliance.errors import ApplianceError
from appliance.store.locks import Lock, holder

_MODEL, _PARTIALS, _LOCK, _SCRATCH = ".gguf", (".partial", ".journal"), ".lock", ".pull-"


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that can go: its file name, and the bytes that it takes on the disk."""

    name: str
    size: int


def unneeded(names: Iterable[str], needed: Collection[str], pulled: Collection[str]) -> list[str]:
    """The files that can go. Pure.

    `needed` are the hashes and ids that a row, a deployment or a setting names, `pulled` those
    under way. A partial file stays while it can still become a needed model file.
    """
    names = sorted(names)
    gone = []
    for name in names:
        path = Path(name)
        key = _key(name)
        if key in pulled or name.startswith(locked.FILE):
            continue
        is_whole = f"{key}{_MODEL}" in names
        if (
            name.startswith(_SCRATCH)
            or path.suffix == _LOCK
            or (path.suffix == _MODEL and key not in needed)
            or (path.suffix in _PARTIALS and (is_whole or key not in needed))
        ):
            gone.append(name)
    return gone


def _key(name: str) -> str:
    """The hash or id that a file's name stands for."""
    return name.removeprefix(_SCRATCH).rpartition("-")[0] if name.startswith(_SCRATCH) else Path(name).stem


def survey(folder: Path, models: Sequence[Model], also: Collection[str], deployment: Deployment) -> list[Leftover]:
    """What can go from the models folder; `also` are ids that settings name. Raises locks-unreadable."""
    shelf = Shelf(folder)
    rows = {shelf.known(model).sha256 for model in models} | {model.id for model in models}
    served = {engine.sha256 for engine in deployment.engines if engine.sha256}
    files = {Path(engine.file).stem for engine in deployment.engines if engine.file}
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    pulled = {Path(name).stem for name in names if name.endswith(_LOCK) and holder(folder / name) is not None}
    gone = unneeded(names, rows | served | files | set(also), pulled)
    return [Leftover(name, _size(folder / name)) for name in gone]


def clear(folder: Path, leftovers: Iterable[Leftover]) -> None:
    """Remove them, but for one that a pull has taken up meanwhile."""
    for leftover in leftovers:
        lock = Lock(folder / f"{_key(leftover.name)}{_LOCK}", fleeting=True)
        if not lock.acquire():
            continue
        try:
            _remove(folder / leftover.name)
        finally:
            lock.release()


def files_of(folder: Path, model: Model) -> list[Leftover]:
    """A model's file and what a pull of it has left."""
    path = Shelf(folder).path(model)
    found = [path.with_suffix(suffix) for suffix in (_MODEL, *_PARTIALS)]
    return [Leftover(file.name, _size(file)) for file in found if file.exists()]


def check_unused(folder: Path, model: Model, deployment: Deployment) -> None:
    """Raises model-in-use when an engine of the deployment works with the model's file."""
    path = Shelf(folder).path(model)
    for engine in deployment.engines:
        if engine.file == str(path) or engine.sha256 == path.stem:
            raise ApplianceError(
                "model-in-use",
                f"{model.title} is what the engine '{engine.role}' works with.",
                f"Set another engines.{engine.role}.model and run `appliance up`; then it can go.",
            )


def remove(folder: Path, model: Model) -> None:
    """Remove a model's files. What was locked for it stays. Raises pull-running."""
    with Shelf(folder).turn(model):
        for leftover in files_of(folder, model):
            _remove(folder / leftover.name)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Bytes on the disk: a partial file has all of its room already, a sparse one has none."""
    with suppress(FileNotFoundError):
        if path.is_dir():
            return sum(_size(inner) for inner in path.iterdir())
        return path.stat().st_blocks * 512
    return 0
