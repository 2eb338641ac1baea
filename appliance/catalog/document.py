"""The catalogue's text as tables: the packaged file, the admin's file laid over it, and where a key stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.config.lines import line_of

PACKAGED, LOCAL = "models.toml", "models.local.toml"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake, as the admin reads it: file, line (None where there is none), dotted key, plain words."""

    file: str
    line: int | None
    key: str
    sentence: str

    def __str__(self) -> str:
        where = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{where}: {self.key!r} {self.sentence}" if self.key else f"{where}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Source:
    """One file's text and its tables."""

    name: str
    text: str
    tables: dict[str, Any]


def read(name: str, text: str) -> Source | Problem:
    """A file's text as tables, or why it is not TOML."""
    try:
        return Source(name, text, tomllib.loads(text))
    except (ValueError, RecursionError) as error:
        # Besides its own errors, tomllib lets through that a number has too many digits.
        return Problem(name, _line(str(error), text), "", f"this is not TOML: {error}")


def _line(said: str, text: str) -> int | None:
    """The line that tomllib names in its words."""
    if "at end of document" in said:
        return len(text.splitlines())
    found = re.search(r"at line (\d+)", said)
    return int(found[1]) if found else None


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables with others laid over them: tables join key by key, and of all else the upper one holds."""
    merged = dict(below)
    for key, value in above.items():
        under = below.get(key)
        merged[key] = merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def place(sources: Sequence[Source], path: tuple[str, ...]) -> tuple[str, int | None]:
    """The file and line where a key stands, the uppermost first; where it is missing, those of its table."""
    for length in range(len(path), 0, -1):
        for source in reversed(sources):
            if _holds(source.tables, path[:length]):
                return source.name, line_of(source.text, path[:length])
    return sources[-1].name, None


def _holds(tables: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(tables, dict) or key not in tables:
            return False
        tables = tables[key]
    return True
