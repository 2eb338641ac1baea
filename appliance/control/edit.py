"""Write values into the settings file and leave everything else in it as the admin wrote it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from appliance.config.load import parse
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic

_MODE = 0o644


def check_writable(path: Path) -> None:
    """Raises config-unreadable when the file could not be replaced: better known before the work than after."""
    folder = next(place for place in path.resolve().parents if place.exists())
    if not os.access(folder, os.W_OK):
        raise ApplianceError(
            "config-unreadable",
            f"The settings in {path} cannot be written.",
            "Run it as the user who owns them, or with sudo.",
        )


def set_engine(path: Path, role: str, values: Mapping[str, str | int]) -> None:
    """Set these keys of `[engines.ROLE]`, whole or not at all. Raises config-unreadable or config-bad-value."""
    check_writable(path)
    file = path.resolve()
    try:
        document = tomlkit.parse(file.read_text()) if file.exists() else tomlkit.document()
        engines = document.setdefault("engines", tomlkit.table(is_super_table=True))
        engine = engines.setdefault(role, tomlkit.table())
        for key, value in values.items():
            engine[key] = value
    except (OSError, ValueError, TOMLKitError) as error:
        raise ApplianceError(
            "config-unreadable",
            f"{path} cannot be changed: {error}.",
            f"Write it yourself, under [engines.{role}]: {', '.join(f'{key} = {values[key]!r}' for key in values)}",
        ) from error
    text = tomlkit.dumps(document)
    parse(text, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, text.encode(), file.stat().st_mode & 0o777 if file.exists() else _MODE)
