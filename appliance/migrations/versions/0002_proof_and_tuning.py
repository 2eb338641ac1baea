"""Proofs and tunings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "proof",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("plan", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("is_baseline", sa.Boolean(), nullable=False),
        sa.Column("context", sa.Integer(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("kv", sa.String(), nullable=False),
        sa.Column("filled", sa.Integer(), nullable=False),
        sa.Column("planned_host", sa.BigInteger(), nullable=False),
        sa.Column("taken_host", sa.BigInteger(), nullable=False),
        sa.Column("planned_gpu", sa.BigInteger(), nullable=False),
        sa.Column("taken_gpu", sa.BigInteger(), nullable=False),
        sa.Column("planned_context", sa.BigInteger(), nullable=False),
        sa.Column("dry_context", sa.BigInteger(), nullable=False),
        sa.Column("planned_compute", sa.BigInteger(), nullable=False),
        sa.Column("dry_compute", sa.BigInteger(), nullable=False),
        sa.Column("prompt_speed", sa.Float(), nullable=False),
        sa.Column("alone_speed", sa.Float(), nullable=False),
        sa.Column("together_speed", sa.Float(), nullable=False),
        sa.Column("offloaded", sa.Boolean(), nullable=True),
        sa.Column("alarm", sa.String(), nullable=True),
        sa.Column("cause", sa.String(), nullable=True),
    )
    op.create_index("ix_proof_model", "proof", ["machine", "model", "id"])
    op.create_table(
        "tuning",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("options", sa.String(), nullable=False),
        sa.Column("table", sa.String(), nullable=False),
    )
    op.create_index("ix_tuning_model", "tuning", ["machine", "model", "id"])


def downgrade() -> None:
    op.drop_index("ix_tuning_model", "tuning")
    op.drop_table("tuning")
    op.drop_index("ix_proof_model", "proof")
    op.drop_table("proof")
