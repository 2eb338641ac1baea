"""The books: the days that budgets begin with are the sums of the ledger's rows, and no call stays open for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.doctor.check import DATABASE, SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import CURRENT, Situation
from appliance.errors import ApplianceError
from appliance.ledger.rollup import COUNT_SQL, roll_up
from appliance.store import schema
from appliance.store.locks import holder
from appliance.units import show_instant

_NAMES: Final = "principal, team, key_id, model, provider"
# Whole days: what was settled while we look is in both, since one transaction reads one state.
_ROWS: Final = (
    f"SELECT day, {_NAMES}, sum(calls), sum(tokens), sum(cost) FROM ("
    f"SELECT started_at / 86400000000 AS day, {_NAMES}, count(*) AS calls,"
    " sum(prompt_tokens + completion_tokens) AS tokens, sum(cost) AS cost"
    f" FROM call WHERE settled_at IS NOT NULL GROUP BY day, {_NAMES} UNION ALL"
    f" SELECT day, {_NAMES}, calls, prompt_tokens + completion_tokens, cost FROM call_day) GROUP BY day, {_NAMES}"
)
_DAYS: Final = f"SELECT day, {_NAMES}, calls, tokens, cost FROM usage_day"
_DIFFER: Final = (
    f"SELECT DISTINCT day FROM (SELECT * FROM ({_DAYS} EXCEPT {_ROWS}) UNION SELECT * FROM ({_ROWS} EXCEPT {_DAYS}))"
    " ORDER BY day"
)
_OPEN: Final = "SELECT count(*), min(started_at) FROM call WHERE settled_at IS NULL"
# The longest answer is over by then.
_DAY_US: Final = 86_400_000_000
_LONG_US: Final = 6 * 3_600_000_000


def look(situation: Situation) -> Iterator[Finding]:
    """Days that are not the sum of their rows, and calls that nobody will close soon."""
    if situation.database != CURRENT:
        return
    with closing(schema.read_only(situation.home.database)) as connection:
        days = [day for (day,) in connection.execute(_DIFFER)]
        still_open, first = connection.execute(_OPEN).fetchone()
        old = connection.execute(COUNT_SQL, (too_old(situation),)).fetchone()[0]
    if days:
        words = f"On {len(days)} days the sums that budgets begin with are not those of the ledger's rows."
        yield Finding("books-differ", words, facts={"days": len(days), "first_day": days[0], "last_day": days[-1]})
    if old:
        kept = situation.told.retention.calls_days
        words = f"{old} calls of the ledger are older than {kept} days, and still there one by one."
        yield Finding("calls-old", words, facts={"calls": old})
    if still_open and holder(situation.home.run / "serve.lock") is None:
        yield Finding(
            "calls-open", f"{still_open} calls were under way when the gateway ended.", facts={"calls": still_open}
        )
    elif still_open and situation.now - first > _LONG_US:
        words = f"{still_open} calls are open, the oldest for more than six hours."
        yield Finding("calls-open-long", words, facts={"calls": still_open})


def too_old(situation: Situation) -> int:
    """Calls that started before this are not kept one by one: the beginning of a day, in microseconds."""
    before = situation.now - situation.told.retention.calls_days * _DAY_US
    return before - before % _DAY_US


def mend(situation: Situation, finding: Finding) -> str:
    """Put old calls together by day. Raises disk-full, database-broken or audit errors."""
    before = too_old(situation)
    with acting(situation.home) as acts:
        acts.note(Action.CALLS_PUT_TOGETHER, (show_instant(before) or "")[:10], calls=finding.facts["calls"])
    try:
        count = roll_up(situation.home.database, before)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise ApplianceError("disk-full", "There is no room for it.", "Free some room and run it again.") from error
        raise ApplianceError("database-broken", f"It failed: {error}.", "Look at `appliance doctor`.") from error
    return f"{count} old calls were put together by day; no token and no cost is lost."


CHECK = Check("books", "Ledger and budgets agree.", look, mend, needs=frozenset({SETTINGS, DATABASE}), limit_s=300.0)
