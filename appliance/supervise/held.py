"""A process that somebody stops for a moment on purpose, as a backup does: it must not be taken for one that hangs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.store.locks import holder, turn


@contextmanager
def held(run: Path, name: str) -> Iterator[None]:
    """Say that a process does not answer because of us, for as long as we live at most."""
    with turn(_file(run, name)):
        yield


def is_held(run: Path, name: str) -> bool:
    """Whether somebody who still lives has said so."""
    return holder(_file(run, name)) is not None


def _file(run: Path, name: str) -> Path:
    return run / f"{name}.held"
