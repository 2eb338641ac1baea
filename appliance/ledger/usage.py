"""Read the ledger: totals and rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, func, inspect
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from appliance.ledger.tables import Call
from appliance.units import show_instant


def totals(session: Session, since_us: int = 0) -> list[dict[str, Any]]:
    """Per principal and model: calls, those that did not complete, and tokens; most tokens first."""
    columns = inspect(Call).columns
    tokens = func.sum(columns.prompt_tokens + columns.completion_tokens)
    query = (
        select_columns(
            columns.principal,
            columns.model,
            func.count().label("calls"),
            func.sum(case((columns.outcome == "complete", 0), else_=1)).label("not_complete"),
            func.sum(columns.prompt_tokens).label("prompt_tokens"),
            func.sum(columns.cached_tokens).label("cached_tokens"),
            func.sum(columns.completion_tokens).label("completion_tokens"),
        )
        .where(columns.started_at >= since_us)
        .group_by(columns.principal, columns.model)
        .order_by(tokens.desc())
    )
    return [dict(found._mapping) for found in session.connection().execute(query)]


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
    """When each key last began a call, in microseconds since 1970 UTC; `created` says which keys, made when.

    Keys that were never used are left out.
    """
    columns = inspect(Call).columns
    query = select_columns(columns.key_id, func.max(columns.started_at)).group_by(columns.key_id)
    return {key: at for key, at in session.connection().execute(query) if key in created}
