"""Sums over the ledger's settled rows, by whoever or whatever is charged, written against the driver.

Budgets begin with these. A row counts in the window in which it started; one that is still open is left out.
Whole days come from `usage_day`, so a month of a million rows takes milliseconds.
"""

from __future__ import annotations

import sqlite3
from typing import Final

# Where each kind of budget's name stands in a row. A box is one: all rows are its own. So is the cloud.
COLUMNS: Final = {
    "user": "principal",
    "team": "team",
    "key": "key_id",
    "model": "model",
    "box": "'box'",
    "cloud": "'cloud'",
}
_ONLY: Final = {"cloud": " AND provider != ''"}
_DAY: Final = 86_400_000_000


def days_sql(kind: str) -> str:
    """Per name of a kind: tokens, cost and number of the rows that started on some days."""
    return (
        f"SELECT {COLUMNS[kind]} AS name, sum(tokens), sum(cost), sum(calls) FROM usage_day"
        f" WHERE day >= ? AND day < ?{_ONLY.get(kind, '')} GROUP BY name"
    )


def rows_sql(kind: str) -> str:
    """The same of the rows that started in a span of time, row by row: for short ones."""
    return (
        f"SELECT {COLUMNS[kind]} AS name, sum(prompt_tokens + completion_tokens), sum(cost), count(*) FROM call"
        f" WHERE started_at >= ? AND started_at < ? AND settled_at IS NOT NULL{_ONLY.get(kind, '')} GROUP BY name"
    )


def sums(connection: sqlite3.Connection, kind: str, start: int, end: int) -> dict[str, tuple[int, int, int]]:
    """By name: tokens, cost in micro-units and number of the settled rows from `start` on and before `end`."""
    if start % _DAY or end % _DAY:
        rows = connection.execute(rows_sql(kind), (start, end))
    else:
        rows = connection.execute(days_sql(kind), (start // _DAY, end // _DAY))
    return {str(name): (tokens, cost, calls) for name, tokens, cost, calls in rows}
