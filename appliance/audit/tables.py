"""The audit log's table."""

from __future__ import annotations

from sqlmodel import BigInteger, Field, SQLModel


class AuditEvent(SQLModel, table=True):
    """One act on record, chained to the one before by `mac`, an HMAC-SHA256 in hex.

    `at` in microseconds since 1970 UTC; `actor` who did it, `action` what, `target` to what; `request_id` is empty
    outside the gateway; `facts` is a JSON object of plain values, never a word of a prompt.
    """

    __tablename__ = "audit_event"

    seq: int = Field(primary_key=True)
    at: int = Field(sa_type=BigInteger)
    actor: str
    action: str
    target: str
    request_id: str
    facts: str
    mac: str
