"""Old calls of the ledger, put together by day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_SAME = (
    "principal", "team", "key_id", "endpoint", "priority", "task", "model_asked", "model", "provider", "route",
    "outcome",
)  # fmt: skip
_SUMS = (
    "prompt_tokens", "cached_tokens", "completion_tokens", "cost", "avoided_cost", "energy_mj", "answered",
    "first_token_ms", "written", "writing_ms",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "call_day",
        sa.Column("day", sa.Integer(), primary_key=True),
        *(sa.Column(name, sa.String(), primary_key=True) for name in _SAME),
        sa.Column("calls", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    # The sums that budgets begin with have these days too; what is lost is by whom and why in detail.
    op.drop_table("call_day")
