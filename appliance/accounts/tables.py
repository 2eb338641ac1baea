"""The tables of accounts."""

from __future__ import annotations

from typing import Final

from sqlmodel import BigInteger, Field, SQLModel


class ApiKey(SQLModel, table=True):
    """One API key. The key itself is shown once and never stored; `digest` is its SHA-256 in hex.

    `id` is public and stands in ledger rows; times are microseconds since 1970 UTC. `models`, `endpoints` and
    `addresses` (networks, such as 10.0.0.0/8) are words with a space between, and empty where all are allowed.
    `priority` is the class of the fair queue. `successor` is the id of the key that replaces it.
    """

    __tablename__ = "api_key"

    id: str = Field(primary_key=True)
    owner: str
    team: str = ""
    priority: str = "api"
    models: str = ""
    endpoints: str = ""
    addresses: str = ""
    digest: str = Field(unique=True)
    created_at: int = Field(sa_type=BigInteger)
    expires_at: int | None = Field(default=None, sa_type=BigInteger)
    revoked_at: int | None = Field(default=None, sa_type=BigInteger)
    successor: str | None = None


# The kinds of those who can be shut out.
USER: Final = "user"
TEAM: Final = "team"


class Suspension(SQLModel, table=True):
    """An owner or a team that is shut out for now. `kind` is `user` or `team`; `at` in microseconds since 1970 UTC."""

    __tablename__ = "suspension"

    kind: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    at: int = Field(sa_type=BigInteger)


class Budget(SQLModel, table=True):
    """A limit on what somebody may use. `at` in microseconds since 1970 UTC.

    `kind` is `user`, `team`, `key`, `model` or `box`; `subject` the name or id, `*` for each of the kind. `unit` is
    `tokens`, `money` (micro-units), `requests` or `at_once`; `period` is `minute`, `day`, `week` or `month`, and
    empty for `at_once`.
    """

    __tablename__ = "budget"

    kind: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    unit: str = Field(primary_key=True)
    period: str = Field(primary_key=True)
    amount: int = Field(sa_type=BigInteger)
    at: int = Field(sa_type=BigInteger)
