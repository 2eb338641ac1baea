"""A list of people in a CSV file, as Excel and others write it: read, and all that is wrong with it said by line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from appliance.errors import ApplianceError
from appliance.policy import names
from appliance.policy.roles import Role, role

_Value = TypeVar("_Value")

COLUMNS: Final = ("email", "name", "role", "groups")
MOST_PEOPLE: Final = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody on the list: `line` is where in the file; the first of `groups` is the one that their use counts for."""

    line: int
    email: str
    name: str
    role: Role
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a line."""

    line: int
    what: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}"


def read(data: bytes) -> tuple[tuple[Entry, ...], tuple[Fault, ...]]:
    """The people on a list, and what is wrong with its lines.

    Columns stand in any order; only `email` must be there. Between them are commas, semicolons or tabs, whichever the
    first line has; groups are divided by any of `,` `;` `|`.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return (), (Fault(line, "this is not UTF-8: in Excel, save it as 'CSV UTF-8'"),)
    skipped, text = _without_hint(text)
    head = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
    try:
        columns = _columns(next(reader, []))
        rows = [(reader.line_num + skipped, row) for row in reader if any(cell.strip() for cell in row)]
    except ValueError as error:
        return (), (Fault(1 + skipped, str(error)),)
    except csv.Error as error:
        return (), (Fault(reader.line_num + skipped, f"this is no CSV: {error}"),)
    if len(rows) > MOST_PEOPLE:
        return (), (Fault(rows[MOST_PEOPLE][0], f"a list has at most {MOST_PEOPLE:,} people"),)
    return _entries(columns, rows)


def _without_hint(text: str) -> tuple[int, str]:
    """The text without the line `sep=;`, with which Excel is told what stands between the columns; lines left out."""
    first, _, rest = text.partition("\n")
    return (1, rest) if re.fullmatch(r"\"?sep=.\"?", first.strip()) else (0, text)


def _columns(head: list[str]) -> list[str]:
    """The names of the columns. Raises ValueError."""
    found = [cell.strip().casefold() for cell in head]
    unknown = [name for name in found if name not in COLUMNS]
    if "email" not in found or unknown or len(set(found)) < len(found):
        raise ValueError(f"the first line must name the columns: {','.join(COLUMNS)}")
    return found


def _entries(columns: list[str], rows: list[tuple[int, list[str]]]) -> tuple[tuple[Entry, ...], tuple[Fault, ...]]:
    found: dict[str, Entry] = {}
    faults: list[Fault] = []
    for line, row in rows:
        if len(row) > len(columns):
            faults.append(Fault(line, f"it has {len(row)} columns instead of {len(columns)}"))
            continue
        cells = dict(zip(columns, row, strict=False))
        wrong: list[str] = []
        entry = _entry(line, {name: cells.get(name, "").strip() for name in COLUMNS}, wrong)
        if entry is not None and entry.email in found:
            wrong.append(f"{entry.email} stands in line {found[entry.email].line} already")
        elif entry is not None:
            found[entry.email] = entry
        faults += [Fault(line, one) for one in wrong]
    return tuple(found.values()), tuple(faults)


def _entry(line: int, cells: dict[str, str], wrong: list[str]) -> Entry | None:
    """One line, unless its address is none; everything that is wrong with it goes onto a list."""
    address = _checked(names.email, cells["email"], wrong)
    name = _checked(names.display_name, cells["name"], wrong) if cells["name"] else ""
    what = _checked(role, cells["role"], wrong) if cells["role"] else Role.STAFF
    words = [word for word in re.split(r"[,;|]", cells["groups"]) if word.strip()]
    groups = tuple(dict.fromkeys(found for word in words if (found := _checked(names.group, word, wrong))))
    if address is None:
        return None
    return Entry(line, address, name or names.name_from(address), what or Role.STAFF, groups)


def _checked(check: Callable[[str], _Value], said: str, wrong: list[str]) -> _Value | None:
    try:
        return check(said)
    except ApplianceError as error:
        wrong.append(error.sentence.removesuffix("."))
        return None
