"""Put old calls of the ledger together by day: not a token, a cost or a call is lost, only which call it was.

Written against the driver. Each step is one short transaction, since the gateway waits meanwhile; whatever is cut off
has been done up to a step, and goes on from there.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Final

from appliance.store.schema import connect

_SAME: Final = (
    "principal", "team", "key_id", "endpoint", "priority", "task", "model_asked", "model", "provider", "route",
    "outcome",
)  # fmt: skip
SUMS: Final = {
    "calls": "count(*)",
    "prompt_tokens": "sum(prompt_tokens)",
    "cached_tokens": "sum(cached_tokens)",
    "completion_tokens": "sum(completion_tokens)",
    "cost": "sum(cost)",
    "avoided_cost": "sum(avoided_cost)",
    "energy_mj": "sum(coalesce(energy_mj, 0))",
    "answered": "count(first_token_ms)",
    "first_token_ms": "sum(coalesce(first_token_ms, 0))",
    "written": "sum(iif(first_token_ms IS NULL, 0, completion_tokens))",
    "writing_ms": "sum(iif(first_token_ms IS NULL, 0, total_ms - first_token_ms))",
}
_OLD: Final = "started_at < ? AND settled_at IS NOT NULL"
# Rows of one step: some milliseconds.
STEP: Final = 500
COUNT_SQL: Final = f"SELECT count(*) FROM call WHERE {_OLD}"
_LAST_SQL: Final = f"SELECT max(id) FROM (SELECT id FROM call WHERE {_OLD} ORDER BY id LIMIT ?)"
# A task or a route may be missing.
_NAMES_SQL: Final = ", ".join(f"coalesce({name}, '') AS {name}" for name in _SAME)
_ADD_SQL: Final = (
    f"INSERT INTO call_day (day, {', '.join(_SAME)}, {', '.join(SUMS)})"
    f" SELECT started_at / 86400000000 AS day, {_NAMES_SQL},"
    f" {', '.join(SUMS.values())} FROM call WHERE {_OLD} AND id <= ?"
    f" GROUP BY {', '.join(str(place) for place in range(1, len(_SAME) + 2))}"
    f" ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in SUMS)}"
)
_REMOVE_SQL: Final = f"DELETE FROM call WHERE {_OLD} AND id <= ?"


def roll_up(path: Path, before: int, step: int = STEP) -> int:
    """Put all settled calls that started before an instant together by day; how many.

    `before` is in microseconds since 1970 UTC. Whole days only: it is cut to the beginning of its day.
    Raises sqlite3.Error; then what was done up to there stays done.
    """
    before -= before % 86_400_000_000
    done = 0
    with closing(connect(path)) as connection:
        while True:
            connection.execute("BEGIN IMMEDIATE")
            try:
                last = connection.execute(_LAST_SQL, (before, step)).fetchone()[0]
                if last is not None:
                    connection.execute(_ADD_SQL, (before, last))
                    done += connection.execute(_REMOVE_SQL, (before, last)).rowcount
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            if last is None:
                return done
