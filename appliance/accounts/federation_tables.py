"""The tables of other sources of sign-on: who is known to them, and who must not come back by them.

All times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from sqlmodel import BigInteger, Field, SQLModel


class ForeignAccount(SQLModel, table=True):
    """Somebody's account elsewhere. `source` is the issuer of a provider, `subject` what it knows them by, for ever.

    It stays when the person is removed, so that they stay out. `shut_out_at` is when the person was shut out because
    the account there had ended; None where it had not, or somebody here did so themselves.
    """

    __tablename__ = "foreign_account"

    source: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    linked_at: int = Field(sa_type=BigInteger)
    seen_at: int = Field(sa_type=BigInteger)
    shut_out_at: int | None = Field(default=None, sa_type=BigInteger)


class RemovedAddress(SQLModel, table=True):
    """An address whose owner was removed, as its SHA-256 in hex: no other source's word makes an account for it."""

    __tablename__ = "removed_address"

    digest: str = Field(primary_key=True)
    removed_at: int = Field(sa_type=BigInteger)
