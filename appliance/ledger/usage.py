"""Read the ledger: totals and rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, inspect
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from appliance.ledger.everything import everything
from appliance.ledger.tables import Call, CallDay
from appliance.units import show_instant

# Calls that are looked through first for a key's last use.
_FIRST_STEP = 10_000
# A call may seem older than its key, where the clock was set back in between.
_CLOCK_SET_BACK_US = 86_400_000_000


def totals(session: Session, since_us: int = 0) -> list[dict[str, Any]]:
    """Per principal and model: calls, those that did not complete, and tokens; most tokens first."""
    every = everything(since_us).c
    tokens = func.sum(every.prompt_tokens + every.completion_tokens)
    query = (
        select_columns(
            every.principal,
            every.model,
            *_sums(every, "calls", "not_complete", "prompt_tokens", "cached_tokens", "completion_tokens"),
        )
        .group_by(every.principal, every.model)
        .order_by(tokens.desc())
    )
    return [dict(found._mapping) for found in session.connection().execute(query)]


def routes(session: Session, since_us: int = 0) -> list[dict[str, Any]]:
    """Per name asked for, model and reason: calls, tokens and speed; most calls first.

    `first_token_ms` is the mean, `tokens_per_s` what an answer came at after its first token; both are None where no
    call had one.
    """
    every = everything(since_us).c
    sums = ("calls", "not_complete", "prompt_tokens", "completion_tokens", "first_token_ms")
    query = (
        select_columns(
            every.model_asked,
            every.model,
            every.route,
            *_sums(every, *sums, "answered", "written", "writing_ms"),
        )
        .group_by(every.model_asked, every.model, every.route)
        .order_by(func.sum(every.calls).desc(), every.model_asked, every.model)
    )
    return [_with_speed(dict(found._mapping)) for found in session.connection().execute(query)]


def tasks(session: Session, since_us: int = 0) -> list[dict[str, Any]]:
    """Per principal, class of the queue and task (empty: they asked themselves): calls and tokens; most first."""
    every = everything(since_us).c
    tokens = func.sum(every.prompt_tokens + every.completion_tokens)
    query = (
        select_columns(
            every.principal,
            every.priority,
            every.task,
            *_sums(every, "calls", "not_complete", "prompt_tokens", "cached_tokens", "completion_tokens", "cost"),
        )
        .group_by(every.principal, every.priority, every.task)
        .order_by(tokens.desc(), every.principal, every.priority, every.task)
    )
    return [dict(found._mapping) for found in session.connection().execute(query)]


def _sums(every: Any, *names: str) -> list[Any]:
    return [func.sum(every[name]).label(name) for name in names]


def _with_speed(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `routes` with its speed in place of what that is reckoned from."""
    written, writing_ms, answered = row.pop("written"), row.pop("writing_ms"), row.pop("answered")
    row["first_token_ms"] = round(row["first_token_ms"] / answered) if answered else None
    row["tokens_per_s"] = round(1000 * written / writing_ms, 1) if writing_ms else None
    return row


def rows(session: Session, limit: int, since_us: int = 0) -> list[dict[str, Any]]:
    """The newest calls first, with times in ISO 8601."""
    query = select(Call).where(col(Call.started_at) >= since_us).order_by(col(Call.id).desc()).limit(limit)
    return [
        {
            **call.model_dump(exclude={"id"}),
            "started_at": show_instant(call.started_at),
            "settled_at": show_instant(call.settled_at),
        }
        for call in session.exec(query)
    ]


def last_used(session: Session, created: dict[str, int]) -> dict[str, int]:
    """When each key last began a call, in microseconds since 1970 UTC; `created` says which keys, and since when.

    Keys that were never used are left out. Read backwards in steps that grow, each for the keys that were not seen
    yet, down to the oldest of them: an index for this would cost each call a quarter of its commit.
    """
    columns = inspect(Call).columns
    connection = session.connection()
    found: dict[str, int] = {}
    left = dict(created)
    below = (connection.execute(select_columns(func.max(columns.id))).scalar() or 0) + 1
    step = _FIRST_STEP
    while left:
        since = columns.started_at >= min(left.values()) - _CLOCK_SET_BACK_US
        lowest = connection.execute(select_columns(columns.id).where(since).order_by(columns.started_at).limit(1))
        end = max(lowest.scalar() or below, below - step)
        if end >= below:
            break
        newest = (
            select_columns(columns.key_id, func.max(columns.started_at).label("at"))
            .where(columns.id >= end, columns.id < below, columns.key_id.in_(left))
            .group_by(columns.key_id)
        )
        seen = {one.key_id: one.at for one in connection.execute(newest)}
        found |= seen
        left = {key: at for key, at in left.items() if key not in seen}
        below, step = end, step * 4
    return found | _last_day(session, left)


def _last_day(session: Session, keys: dict[str, int]) -> dict[str, int]:
    """The beginning of the day on which keys were last used, of those whose calls are only known by day."""
    if not keys:
        return {}
    day = inspect(CallDay).columns
    query = select_columns(day.key_id, func.max(day.day).label("day")).where(day.key_id.in_(keys)).group_by(day.key_id)
    return {row.key_id: row.day * 86_400_000_000 for row in session.connection().execute(query)}
