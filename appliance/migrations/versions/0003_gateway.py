"""What the gateway needs to know of keys and calls; budgets, suspensions and the audit log."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

Columns = list[sa.Column[Any]]

revision = "0003"
down_revision = "0002"

_OPEN_ROWS = sa.text("settled_at IS NULL")
# What 0001 made, column by column: everything in it is kept.
_CALL_BEFORE = (
    "id, request_id, principal, key_id, model_asked, model, streamed, prompt_tokens, cached_tokens,"
    " completion_tokens, exact, queue_ms, first_token_ms, total_ms, outcome, error, started_at, settled_at"
)
_KEY_BEFORE = "id, owner, digest, created_at, revoked_at"
# A row is added to the sums of its day by the very statement that settles it, whoever writes that.
_ADD_TO_DAY = """
CREATE TRIGGER call_settled AFTER UPDATE OF settled_at ON call
WHEN OLD.settled_at IS NULL AND NEW.settled_at IS NOT NULL
BEGIN
  INSERT INTO usage_day (day, principal, team, key_id, model, provider, calls, tokens, cost)
  VALUES (NEW.started_at / 86400000000, NEW.principal, NEW.team, NEW.key_id, NEW.model, NEW.provider,
          1, NEW.prompt_tokens + NEW.completion_tokens, NEW.cost)
  ON CONFLICT (day, principal, team, key_id, model, provider) DO UPDATE
  SET calls = calls + 1, tokens = tokens + excluded.tokens, cost = cost + excluded.cost;
END
"""


def upgrade() -> None:
    _replace(
        "call",
        _call_columns(full=True),
        f"{_CALL_BEFORE}, team, endpoint, priority, provider, cost, avoided_cost",
        f"{_CALL_BEFORE}, '', 'chat', 'api', '', 0, 0",
    )
    op.create_index("ix_call_started", "call", ["started_at"])
    _sum_days()
    _replace(
        "api_key",
        _key_columns(full=True),
        f"{_KEY_BEFORE}, team, priority, models, endpoints, addresses",
        f"{_KEY_BEFORE}, '', 'api', '', '', ''",
    )
    op.create_table(
        "suspension",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "budget",
        sa.Column("kind", sa.String(), primary_key=True),
        sa.Column("subject", sa.String(), primary_key=True),
        sa.Column("unit", sa.String(), primary_key=True),
        sa.Column("period", sa.String(), primary_key=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "audit_event",
        sa.Column("seq", sa.Integer(), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("facts", sa.String(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("audit_event")
    op.drop_table("budget")
    op.drop_table("suspension")
    op.execute("DROP TRIGGER call_settled")
    op.drop_table("usage_day")
    _replace("api_key", _key_columns(full=False), _KEY_BEFORE, _KEY_BEFORE)
    _replace("call", _call_columns(full=False), _CALL_BEFORE, _CALL_BEFORE)


def _sum_days() -> None:
    """What budgets begin with: sums by day, so that a start never reads all rows of a month."""
    op.create_table(
        "usage_day",
        sa.Column("day", sa.Integer(), primary_key=True),
        sa.Column("principal", sa.String(), primary_key=True),
        sa.Column("team", sa.String(), primary_key=True),
        sa.Column("key_id", sa.String(), primary_key=True),
        sa.Column("model", sa.String(), primary_key=True),
        sa.Column("provider", sa.String(), primary_key=True),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO usage_day SELECT started_at / 86400000000, principal, team, key_id, model, provider, count(*),"
        " sum(prompt_tokens + completion_tokens), sum(cost) FROM call WHERE settled_at IS NOT NULL"
        " GROUP BY 1, 2, 3, 4, 5, 6"
    )
    op.execute(_ADD_TO_DAY)


def _replace(table: str, columns: Columns, names: str, values: str) -> None:
    """Rebuild a table with other columns; its rows move over."""
    if table == "call":
        op.drop_index("ix_call_open", "call")
    op.rename_table(table, f"{table}_before")
    op.create_table(table, *columns)
    op.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}_before")
    op.drop_table(f"{table}_before")
    if table == "call":
        # Partial: it holds only what is under way, so finding open rows never scans the ledger.
        op.create_index("ix_call_open", "call", ["id"], sqlite_where=_OPEN_ROWS, postgresql_where=_OPEN_ROWS)


def _call_columns(*, full: bool) -> Columns:
    def new(*columns: sa.Column[Any]) -> Columns:
        return list(columns) if full else []

    return [
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("request_id", sa.String(), nullable=False, unique=True),
        sa.Column("principal", sa.String(), nullable=False),
        *new(sa.Column("team", sa.String(), nullable=False)),
        sa.Column("key_id", sa.String(), nullable=False),
        *new(
            sa.Column("endpoint", sa.String(), nullable=False),
            sa.Column("priority", sa.String(), nullable=False),
            sa.Column("task", sa.String(), nullable=True),
        ),
        sa.Column("model_asked", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        *new(sa.Column("provider", sa.String(), nullable=False), sa.Column("route", sa.String(), nullable=True)),
        sa.Column("streamed", sa.Boolean(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("exact", sa.Boolean(), nullable=False),
        sa.Column("queue_ms", sa.Integer(), nullable=False),
        sa.Column("first_token_ms", sa.Integer(), nullable=True),
        sa.Column("total_ms", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        *new(
            sa.Column("cost", sa.BigInteger(), nullable=False),
            sa.Column("avoided_cost", sa.BigInteger(), nullable=False),
            sa.Column("energy_mj", sa.BigInteger(), nullable=True),
        ),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("settled_at", sa.BigInteger(), nullable=True),
    ]


def _key_columns(*, full: bool) -> Columns:
    def new(*columns: sa.Column[Any]) -> Columns:
        return list(columns) if full else []

    return [
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("owner", sa.String(), nullable=False),
        *new(
            sa.Column("team", sa.String(), nullable=False),
            sa.Column("priority", sa.String(), nullable=False),
            sa.Column("models", sa.String(), nullable=False),
            sa.Column("endpoints", sa.String(), nullable=False),
            sa.Column("addresses", sa.String(), nullable=False),
        ),
        sa.Column("digest", sa.String(), nullable=False, unique=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        *new(sa.Column("expires_at", sa.BigInteger(), nullable=True)),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        *new(sa.Column("successor", sa.String(), nullable=True)),
    ]
