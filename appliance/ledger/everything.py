"""All calls that ever were, for sums: those that the ledger still has one by one, and the old ones by day."""

from __future__ import annotations

from sqlalchemy import Subquery, case, func, inspect, literal, union_all
from sqlalchemy import select as select_columns

from appliance.ledger.tables import Call, CallDay

_DAY_US = 86_400_000_000


def everything(since_us: int) -> Subquery:
    """Rows to be summed: who, what and why, and `calls`, `not_complete`, tokens, `cost` and what speed is reckoned of.

    Old calls count where their day began at `since_us` or later.
    """
    one, day = inspect(Call).columns, inspect(CallDay).columns
    answered = one.first_token_ms.is_not(None)
    names = ("principal", "priority", "model_asked", "model")
    sums = ("prompt_tokens", "cached_tokens", "completion_tokens", "cost")
    recent = select_columns(
        *(one[name] for name in (*names, *sums)),
        func.coalesce(one.task, "").label("task"),
        func.coalesce(one.route, "").label("route"),
        literal(1).label("calls"),
        case((one.outcome == "complete", 0), else_=1).label("not_complete"),
        case((answered, 1), else_=0).label("answered"),
        func.coalesce(one.first_token_ms, 0).label("first_token_ms"),
        case((answered, one.completion_tokens), else_=0).label("written"),
        case((answered, one.total_ms - one.first_token_ms), else_=0).label("writing_ms"),
    ).where(one.started_at >= since_us)
    old = select_columns(
        *(day[name] for name in (*names, *sums, "task", "route", "calls")),
        case((day.outcome == "complete", 0), else_=day.calls).label("not_complete"),
        *(day[name] for name in ("answered", "first_token_ms", "written", "writing_ms")),
    ).where(day.day * _DAY_US >= since_us)
    return union_all(recent, old).subquery()
