"""The tables of people: who they are, which groups they are in, and what they prove it with.

All times are microseconds since 1970 UTC. Whoever is removed keeps a row, for their login is given to nobody else;
but for that and the times it is empty. Who is shut out for now stands in `suspension`, by login.
"""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import BigInteger, Field, SQLModel

_STILL_HERE = text("removed_at IS NULL")


class Person(SQLModel, table=True):
    """Somebody with an account.

    `login` is the name that keys, budgets, suspensions, the ledger and the audit log know them by; `team` is the group
    that their use counts for, empty where none is. `password` is an argon2id hash, `totp` the secret of their
    authenticator in base32; both are empty where there is none. `totp_step` is the last step of 30 s whose code was
    taken. `language` is a tag such as `de`, empty for the browser's.
    """

    __tablename__ = "person"
    __table_args__ = (
        Index("ix_person_email", "email", unique=True, sqlite_where=_STILL_HERE, postgresql_where=_STILL_HERE),
    )

    id: str = Field(primary_key=True)
    email: str
    name: str
    login: str = Field(unique=True)
    role: str
    team: str = ""
    password: str = ""
    password_at: int | None = Field(default=None, sa_type=BigInteger)
    totp: str = ""
    totp_step: int = Field(default=0, sa_type=BigInteger)
    language: str = ""
    created_at: int = Field(sa_type=BigInteger)
    removed_at: int | None = Field(default=None, sa_type=BigInteger)


class Group(SQLModel, table=True):
    """A group of people. Keys, budgets and suspensions call it a team, by the same name."""

    __tablename__ = "person_group"

    name: str = Field(primary_key=True)
    created_at: int = Field(sa_type=BigInteger)


class Membership(SQLModel, table=True):
    """Who is in which group. `given_by` is the source of sign-on that says so, empty where it was done by hand."""

    __tablename__ = "membership"

    person_id: str = Field(primary_key=True, foreign_key="person.id")
    group_name: str = Field(primary_key=True, foreign_key="person_group.name")
    given_by: str = Field(default="", sa_column_kwargs={"server_default": text("''")})


class Passkey(SQLModel, table=True):
    """A passkey. `id` is its credential id in base64url without padding, `public_key` as the browser gave it (COSE)."""

    __tablename__ = "passkey"

    id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    public_key: bytes
    sign_count: int = Field(sa_type=BigInteger)
    name: str
    created_at: int = Field(sa_type=BigInteger)
    used_at: int | None = Field(default=None, sa_type=BigInteger)


class RecoveryCode(SQLModel, table=True):
    """A code that stands in for the authenticator, once. `digest` is the code's SHA-256 in hex."""

    __tablename__ = "recovery_code"

    digest: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    used_at: int | None = Field(default=None, sa_type=BigInteger)


class Link(SQLModel, table=True):
    """A one-time link. `digest` is the SHA-256 in hex of its 256 random bits; `purpose` is what it lets them do.

    Only the link for the first owner is for nobody yet: whoever opens it says who they are.
    """

    __tablename__ = "link"

    digest: str = Field(primary_key=True)
    person_id: str | None = Field(default=None, foreign_key="person.id", index=True)
    purpose: str
    created_at: int = Field(sa_type=BigInteger)
    expires_at: int = Field(sa_type=BigInteger)
    used_at: int | None = Field(default=None, sa_type=BigInteger)
