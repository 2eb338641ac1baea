"""Sums over the ledger's settled rows, by whoever or whatever is charged, written against the driver.

Budgets begin with these. A row counts in the window in which it started; one that is still open is left out.
"""

from __future__ import annotations

import sqlite3
from typing import Final

# Where each kind of budget's name stands in a row. A box is one: all rows are its own.
COLUMNS: Final = {"user": "principal", "team": "team", "key": "key_id", "model": "model", "box": "'box'"}


def sums_sql(kind: str) -> str:
    """Per name of a kind: tokens, cost and number of the rows that started in a span of time."""
    column = COLUMNS[kind]
    return (
        f"SELECT {column}, sum(prompt_tokens + completion_tokens), sum(cost), count(*) FROM call"
        f" WHERE started_at >= ? AND started_at < ? AND settled_at IS NOT NULL GROUP BY {column}"
    )


def sums(connection: sqlite3.Connection, kind: str, start: int, end: int) -> dict[str, tuple[int, int, int]]:
    """By name: tokens, cost in micro-units and number of the settled rows from `start` on and before `end`."""
    rows = connection.execute(sums_sql(kind), (start, end))
    return {str(name): (tokens, cost, calls) for name, tokens, cost, calls in rows}
