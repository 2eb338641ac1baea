"""The ledger's table."""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import BigInteger, Field, SQLModel


class Call(SQLModel, table=True):
    """One call of a model. Times are microseconds since 1970 UTC, durations milliseconds, money micro-units.

    The row is opened before the engine is asked and settled once. `principal`, `team` and `key_id`
    are plain ids, without foreign keys: the ledger outlives the people it speaks of.
    `exact` is false where the engine was cut off before it could count, and the gateway
    counted instead. `priority` is the class of the fair queue, `task` what a program says it
    asks for (a title, tags), `route` why this model, `provider` who computed it: empty for this box.
    `cost` is what it is charged at list price, `avoided_cost` what the same tokens would have cost
    at the reference price, `energy_mj` the millijoules that were measured meanwhile.
    """

    __tablename__ = "call"
    __table_args__ = (
        Index(
            "ix_call_open", "id", sqlite_where=text("settled_at IS NULL"), postgresql_where=text("settled_at IS NULL")
        ),
        Index("ix_call_started", "started_at"),
    )

    id: int | None = Field(default=None, primary_key=True)
    request_id: str = Field(unique=True)
    principal: str
    team: str = ""
    key_id: str
    endpoint: str = "chat"
    priority: str = "api"
    task: str | None = None
    model_asked: str
    model: str
    provider: str = ""
    route: str | None = None
    streamed: bool
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    exact: bool = True
    queue_ms: int = 0
    first_token_ms: int | None = None
    total_ms: int = 0
    outcome: str = "open"
    error: str | None = None
    cost: int = Field(default=0, sa_type=BigInteger)
    avoided_cost: int = Field(default=0, sa_type=BigInteger)
    energy_mj: int | None = Field(default=None, sa_type=BigInteger)
    started_at: int = Field(sa_type=BigInteger)
    settled_at: int | None = Field(default=None, sa_type=BigInteger)


class UsageDay(SQLModel, table=True):
    """What the settled calls that started on one day (UTC, in days since 1970) come to; money in micro-units.

    A trigger of the database keeps it, in the statement that settles a row. Budgets begin with it, since a month
    has more rows than can be read at a start.
    """

    __tablename__ = "usage_day"
    __table_args__ = {"sqlite_with_rowid": False}

    day: int = Field(primary_key=True)
    principal: str = Field(primary_key=True)
    team: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    provider: str = Field(primary_key=True)
    calls: int
    tokens: int = Field(sa_type=BigInteger)
    cost: int = Field(sa_type=BigInteger)


class CallDay(SQLModel, table=True):
    """Old calls of one day (UTC, in days since 1970) that are alike in all this, put together; sums for good.

    `task` and `route` are empty where a call had none. `answered` counts those that had a first token, and
    `first_token_ms`, `written` and `writing_ms` are sums over these. `energy_mj` is that of calls where it was known.
    """

    __tablename__ = "call_day"
    __table_args__ = {"sqlite_with_rowid": False}

    day: int = Field(primary_key=True)
    principal: str = Field(primary_key=True)
    team: str = Field(primary_key=True)
    key_id: str = Field(primary_key=True)
    endpoint: str = Field(primary_key=True)
    priority: str = Field(primary_key=True)
    task: str = Field(primary_key=True)
    model_asked: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    provider: str = Field(primary_key=True)
    route: str = Field(primary_key=True)
    outcome: str = Field(primary_key=True)
    calls: int
    prompt_tokens: int = Field(sa_type=BigInteger)
    cached_tokens: int = Field(sa_type=BigInteger)
    completion_tokens: int = Field(sa_type=BigInteger)
    cost: int = Field(sa_type=BigInteger)
    avoided_cost: int = Field(sa_type=BigInteger)
    energy_mj: int = Field(sa_type=BigInteger)
    answered: int = Field(sa_type=BigInteger)
    first_token_ms: int = Field(sa_type=BigInteger)
    written: int = Field(sa_type=BigInteger)
    writing_ms: int = Field(sa_type=BigInteger)
