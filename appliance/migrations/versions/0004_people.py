"""People, their groups, and what they prove with that it is them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_STILL_HERE = sa.text("removed_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "person",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("login", sa.String(), nullable=False, unique=True),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("password", sa.String(), nullable=False),
        sa.Column("password_at", sa.BigInteger(), nullable=True),
        sa.Column("totp", sa.String(), nullable=False),
        sa.Column("totp_step", sa.BigInteger(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
    )
    # Partial: the address of somebody who was removed is free for whoever has it next.
    op.create_index(
        "ix_person_email", "person", ["email"], unique=True, sqlite_where=_STILL_HERE, postgresql_where=_STILL_HERE
    )
    op.create_table(
        "person_group",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "membership",
        sa.Column("person_id", sa.String(), sa.ForeignKey("person.id"), primary_key=True),
        sa.Column("group_name", sa.String(), sa.ForeignKey("person_group.name"), primary_key=True),
    )
    _of_a_person(
        "passkey",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    _of_a_person("recovery_code", sa.Column("digest", sa.String(), primary_key=True))
    _of_a_person(
        "link",
        sa.Column("digest", sa.String(), primary_key=True),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        nobody=True,
    )


def downgrade() -> None:
    for table in ("link", "recovery_code", "passkey"):
        op.drop_index(f"ix_{table}_person_id", table)
        op.drop_table(table)
    op.drop_table("membership")
    op.drop_table("person_group")
    op.drop_index("ix_person_email", "person")
    op.drop_table("person")


def _of_a_person(table: str, first: sa.Column[Any], *more: sa.Column[Any], nobody: bool = False) -> None:
    """A table of what belongs to a person, or to nobody yet, and was used at some time or not yet."""
    whose = sa.Column("person_id", sa.String(), sa.ForeignKey("person.id"), nullable=nobody)
    op.create_table(table, first, whose, *more, sa.Column("used_at", sa.BigInteger(), nullable=True))
    op.create_index(f"ix_{table}_person_id", table, ["person_id"])
