"""Alembic's entry: one connection, one transaction, foreign keys off while tables are rebuilt.

With foreign keys on, a batch migration that rebuilds a parent table lets ON DELETE CASCADE
wipe its children; so they are off here, and checked before the commit.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, event, text
from sqlmodel import SQLModel

from appliance.accounts import federation_tables, people_tables, sign_on_tables
from appliance.accounts import tables as accounts_tables
from appliance.audit import tables as audit_tables
from appliance.ledger import tables as ledger_tables
from appliance.proof import tables as proof_tables

# Tables register themselves in SQLModel.metadata when they are imported.
assert (
    accounts_tables
    and federation_tables
    and people_tables
    and sign_on_tables
    and audit_tables
    and ledger_tables
    and proof_tables
)

engine = create_engine(context.config.get_main_option("sqlalchemy.url") or "")


@event.listens_for(engine, "connect")
def _prepare(connection, _record):  # type: ignore[no-untyped-def]
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("PRAGMA busy_timeout = 10000")


with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=SQLModel.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
        broken = connection.execute(text("PRAGMA foreign_key_check")).fetchall()
        if broken:
            raise RuntimeError(f"the migration broke {len(broken)} references")
    connection.commit()
