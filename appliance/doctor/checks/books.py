"""The books: the days that budgets begin with are the sums of the ledger's rows, and no call stays open for ever."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Final

from appliance.doctor.check import DATABASE, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import CURRENT, Situation
from appliance.store import schema
from appliance.store.locks import holder

_NAMES: Final = "principal, team, key_id, model, provider"
# Whole days: what was settled while we look is in both, since one transaction reads one state.
_ROWS: Final = (
    f"SELECT started_at / 86400000000 AS day, {_NAMES}, count(*) AS calls,"
    " sum(prompt_tokens + completion_tokens) AS tokens, sum(cost) AS cost"
    f" FROM call WHERE settled_at IS NOT NULL GROUP BY day, {_NAMES}"
)
_DAYS: Final = f"SELECT day, {_NAMES}, calls, tokens, cost FROM usage_day"
_DIFFER: Final = (
    f"SELECT DISTINCT day FROM (SELECT * FROM ({_DAYS} EXCEPT {_ROWS}) UNION SELECT * FROM ({_ROWS} EXCEPT {_DAYS}))"
    " ORDER BY day"
)
_OPEN: Final = "SELECT count(*), min(started_at) FROM call WHERE settled_at IS NULL"
# The longest answer is over by then.
_LONG_US: Final = 6 * 3_600_000_000


def look(situation: Situation) -> Iterator[Finding]:
    """Days that are not the sum of their rows, and calls that nobody will close soon."""
    if situation.database != CURRENT:
        return
    with closing(schema.read_only(situation.home.database)) as connection:
        days = [day for (day,) in connection.execute(_DIFFER)]
        still_open, first = connection.execute(_OPEN).fetchone()
    if days:
        words = f"On {len(days)} days the sums that budgets begin with are not those of the ledger's rows."
        yield Finding("books-differ", words, facts={"days": len(days), "first_day": days[0], "last_day": days[-1]})
    if still_open and holder(situation.home.run / "serve.lock") is None:
        yield Finding(
            "calls-open", f"{still_open} calls were under way when the gateway ended.", facts={"calls": still_open}
        )
    elif still_open and situation.now - first > _LONG_US:
        words = f"{still_open} calls are open, the oldest for more than six hours."
        yield Finding("calls-open-long", words, facts={"calls": still_open})


CHECK = Check("books", "Ledger and budgets agree.", look, needs=frozenset({DATABASE}), limit_s=300.0)
