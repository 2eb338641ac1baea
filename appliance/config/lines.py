"""Where a key stands in TOML text, so that a mistake can be told by its line: pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# `[table]`, or `[[list of tables]]`.
_HEADER = re.compile(r"^\s*\[(\[?)\s*([^\[\]]+?)\s*\]")
_PAIR = re.compile(r"^\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")
# A part in quotes may hold dots of its own: `"qwen3.5-9b".files`.
_PART = re.compile(r""""[^"]*"|'[^']*'|[^.\s"']+""")


def line_of(text: str, keys: Sequence[str]) -> int | None:
    """The 1-based line where a dotted key stands in TOML text, or what holds it; None if nowhere.

    In a list of tables each has its place, counted from 0, for a key: `prices.0.input`.
    """
    counts = Counter[str]()
    wanted, table = list(keys), list[str]()
    best: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        if header:
            table = _parts(header[2])
            if header[1]:
                name = ".".join(table)
                # The list itself stands where its first table does.
                if table == wanted and best is None:
                    best = number
                table.append(str(counts[name]))
                counts[name] += 1
            if table == wanted[: len(table)]:
                best = number
            continue
        pair = _PAIR.match(line)
        if pair is None:
            continue
        found = table + _parts(pair[1])
        if found == wanted:
            return number
        if found == wanted[: len(found)]:
            best = number
    return best


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(dotted)]
