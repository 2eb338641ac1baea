"""Sign-on: clients, who is signed in, and what their tokens are good for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# By table, in the order in which they are made: their indices.
_INDICES = {
    "client": (),
    "sign_on": ("person_id",),
    "known_device": ("person_id",),
    "authorization_code": ("person_id", "expires_at"),
    "token_family": ("client_id", "person_id", "sign_on_id", "expires_at"),
    "refresh_token": ("family_id",),
    "device_grant": ("person_id", "expires_at"),
    "logout_notice": ("next_at",),
}


def upgrade() -> None:
    op.create_table(
        "client",
        _key("id"),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        *_texts("digest", "redirects", "logout_redirects", "backchannel", "flows"),
        _time("created_at"),
    )
    op.create_table(
        "sign_on", _key("id"), sa.Column("digest", sa.String(), nullable=False, unique=True), _person(),
        *_texts("means"), _time("began_at"), _time("expires_at"), _time("ended_at", nullable=True),
    )  # fmt: skip
    op.create_table(
        "known_device",
        _key("digest"),
        sa.Column("person_id", sa.String(), sa.ForeignKey("person.id"), primary_key=True),
        _time("seen_at"),
    )
    op.create_table(
        "authorization_code", _key("digest"), *_texts("client_id"), _person(),
        *_texts("sign_on_id", "redirect", "scope", "nonce", "challenge", "family_id"), _time("expires_at"),
    )  # fmt: skip
    op.create_table(
        "token_family", _key("id"), *_texts("client_id"), _person(nullable=True), *_texts("sign_on_id", "scope"),
        _time("began_at"), _time("expires_at"), _time("ended_at", nullable=True), *_texts("why"),
    )  # fmt: skip
    op.create_table(
        "refresh_token",
        _key("digest"),
        sa.Column("family_id", sa.String(), sa.ForeignKey("token_family.id"), nullable=False),
        _time("used_at", nullable=True),
    )
    op.create_table(
        "device_grant", _key("digest"), sa.Column("user_code", sa.String(), nullable=False, unique=True),
        *_texts("client_id", "scope", "state"), _person(nullable=True), *_texts("sign_on_id"),
        sa.Column("interval", sa.Integer(), nullable=False), _time("looked_at"), _time("expires_at"),
    )  # fmt: skip
    op.create_table(
        "logout_notice", sa.Column("id", sa.Integer(), primary_key=True),
        *_texts("client_id", "person_id", "sign_on_id"), sa.Column("tries", sa.Integer(), nullable=False),
        _time("next_at"),
    )  # fmt: skip
    for table, columns in _INDICES.items():
        for column in columns:
            op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for table, columns in reversed(_INDICES.items()):
        for column in columns:
            op.drop_index(f"ix_{table}_{column}", table)
        op.drop_table(table)


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.String(), primary_key=True)


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.String(), nullable=False) for name in names]


def _time(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _person(*, nullable: bool = False) -> sa.Column[str]:
    return sa.Column("person_id", sa.String(), sa.ForeignKey("person.id"), nullable=nullable)
