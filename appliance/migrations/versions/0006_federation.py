"""Sign-in with other providers: accounts there, and which groups they give."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "foreign_account",
        sa.Column("source", sa.String(), primary_key=True),
        sa.Column("subject", sa.String(), primary_key=True),
        sa.Column("person_id", sa.String(), sa.ForeignKey("person.id"), nullable=False),
        sa.Column("linked_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("shut_out_at", sa.BigInteger(), nullable=True),
    )
    op.create_index("ix_foreign_account_person_id", "foreign_account", ["person_id"])
    op.create_table(
        "removed_address",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("removed_at", sa.BigInteger(), nullable=False),
    )
    # Whoever is in a group by now was put into it by hand.
    op.add_column("membership", sa.Column("given_by", sa.String(), nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    op.drop_column("membership", "given_by")
    op.drop_table("removed_address")
    op.drop_index("ix_foreign_account_person_id", "foreign_account")
    op.drop_table("foreign_account")
