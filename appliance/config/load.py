"""Read the settings file, or say exactly which file, line and key is wrong, and what to write."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from appliance.config.lines import line_of
from appliance.config.settings import EngineSettings, Role, Settings
from appliance.errors import ApplianceError


def load(path: Path) -> Settings:
    """The settings of a TOML file; a file that does not exist means every default.

    Raises config-unreadable, config-unknown-key or config-bad-value.
    """
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise ApplianceError(
            "config-unreadable", f"{path} cannot be read: {error}.", "Check the file's owner, rights and encoding."
        ) from error
    return parse(text, path)


def parse(text: str, path: Path) -> Settings:
    """The settings of a file's text; `path` is what messages call it. Raises as `load` does."""
    try:
        return Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ApplianceError(
            "config-unreadable",
            f"{path} is not TOML: {error}.",
            "Mend that line, or put back the file's last good copy.",
        ) from error
    except ValidationError as error:
        raise _explain(path, text, error.errors()[0]) from error


def _explain(path: Path, text: str, detail: ErrorDetails) -> ApplianceError:
    """The first thing that pydantic found, as file, line, key and fix."""
    loc = [part for part in detail["loc"] if part != "[key]"]
    line = line_of(text, [str(part) for part in loc])
    # Of a list's tables the line says which.
    keys = [part for part in loc if isinstance(part, str)]
    name = ".".join(keys)
    where = f"{path}, line {line}" if line else str(path)
    if detail["type"] == "extra_forbidden" or "[key]" in detail["loc"]:
        near = difflib.get_close_matches(keys[-1], _known_keys(keys[:-1]), n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(_known_keys(keys[:-1]))}."
        return ApplianceError("config-unknown-key", f"{where}: there is no setting '{name}'.", hint)
    value = "as it is" if isinstance(detail["input"], list) else repr(detail["input"])
    what = detail["msg"].removeprefix("Value error, ")
    return ApplianceError(
        "config-bad-value",
        f"{where}: '{name}' cannot be {value}: {what[:1].lower()}{what[1:]}.",
        "Correct the value, or delete the line to use the default.",
    )


def _known_keys(table: list[str]) -> list[str]:
    """The keys that a table of the settings file may hold."""
    model: type[BaseModel] = Settings
    for part in table:
        if part == "engines":
            return list(get_args(Role)) if table[-1] == "engines" else list(EngineSettings.model_fields)
        field = model.model_fields.get(part)
        if field is None:
            return []
        # A list of tables is known by its tables.
        kind: Any = next(iter(get_args(field.annotation)), field.annotation)
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return []
        model = kind
    return [field.alias or name for name, field in model.model_fields.items()]
