"""The tables of accounts."""

from __future__ import annotations

from sqlmodel import BigInteger, Field, SQLModel


class ApiKey(SQLModel, table=True):
    """One API key. The key itself is shown once and never stored; `digest` is its SHA-256 in hex.

    `id` is public and stands in ledger rows; `created_at` and `revoked_at` are microseconds
    since 1970 UTC.
    """

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)
    owner: str
    digest: str = Field(unique=True)
    created_at: int = Field(sa_type=BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=BigInteger)
