"""Write values into the settings file and leave everything else in it as the admin wrote it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from appliance.config.load import parse
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic

_MODE = 0o644


def check_writable(path: Path) -> None:
    """Raises config-unreadable when the file could not be replaced: better known before the work than after."""
    folder = next(place for place in path.resolve().parents if place.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ApplianceError(
            "config-unreadable",
            f"The settings in {path} cannot be written.",
            "Run it as the user who owns them, or with sudo.",
        )


def set_engine(path: Path, role: str, values: Mapping[str, str | int]) -> None:
    """Set these keys of `[engines.ROLE]`, whole or not at all. Raises config-unreadable or config-bad-value."""
    set_values(path, ("engines", role), values)


def set_values(path: Path, table: tuple[str, ...], values: Mapping[str, str | int]) -> None:
    """Set these keys of a table, whole or not at all. Raises config-unreadable or config-bad-value."""
    check_writable(path)
    file = path.resolve()
    try:
        document = tomlkit.parse(_text(file, path))
        place: Any = document
        for name in table[:-1]:
            place = place.setdefault(name, tomlkit.table(is_super_table=True))
        place = place.setdefault(table[-1], tomlkit.table())
        for key, value in values.items():
            place[key] = value
    except (OSError, ValueError, TOMLKitError) as error:
        raise ApplianceError(
            "config-unreadable",
            f"{path} cannot be changed: {error}.",
            f"Write it yourself, under [{'.'.join(table)}]: {', '.join(f'{key} = {values[key]!r}' for key in values)}",
        ) from error
    text = tomlkit.dumps(document)
    parse(text, path)
    _replace(file, text)


def _text(file: Path, path: Path) -> str:
    """What the settings say now, line ends as they are; what is wrong with them already is told as ever."""
    text = file.read_bytes().decode() if file.exists() else ""
    parse(text, path)
    return text


def _replace(file: Path, text: str) -> None:
    """Write the file anew, with the rights and the owner that it had."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, text.encode(), _MODE)
        return
    before = file.stat()
    write_atomic(file, text.encode(), before.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(file, before.st_uid, before.st_gid)
