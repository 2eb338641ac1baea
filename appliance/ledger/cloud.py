"""What models of the cloud have cost, from the ledger."""

from __future__ import annotations

from sqlalchemy import func, inspect, select
from sqlmodel import Session

from appliance.ledger.tables import Call


def spent(session: Session, since_us: int) -> dict[str, int]:
    """The cost of all calls since an instant (microseconds since 1970 UTC), in micro-units, by provider."""
    columns = inspect(Call).columns
    query = (
        select(columns.provider, func.sum(columns.cost))
        .where(columns.started_at >= since_us, columns.provider != "")
        .group_by(columns.provider)
    )
    return {provider: int(cost) for provider, cost in session.connection().execute(query)}
