"""Read the settings file, or say exactly which file, line and key is wrong, and what to write."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from appliance.config.lines import line_of
from appliance.config.settings import Settings
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
    what = detail["msg"].removeprefix("Value error, ")
    # Whoever puts a provider's key in the wrong place must not find it in a log.
    value = "as it is" if isinstance(detail["input"], list) or keys[0] == "cloud" else repr(detail["input"])
    return ApplianceError(
        "config-bad-value",
        f"{where}: '{name}' cannot be {value}: {what[:1].lower()}{what[1:]}.",
        "Correct the value, or delete the line to use the default.",
    )


def _known_keys(table: list[str]) -> list[str]:
    """The keys that a table of the settings file may hold."""
    kind: Any = Settings
    for part in table:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            field = kind.model_fields.get(part)
            if field is None:
                return []
            # A list of tables is known by its tables.
            kind = _of_list(field.annotation)
    if get_origin(kind) is dict:
        return list(get_args(get_args(kind)[0]))
    if not hasattr(kind, "model_fields"):
        return []
    return [field.alias or name for name, field in kind.model_fields.items()]


def _of_list(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is list else kind
