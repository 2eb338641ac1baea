"""Acts of the admin: what is done and its event are one transaction, so that neither is there without the other.

with acting(home) as acts:
    key, secret = keys.create(acts.session, owner)
    acts.note(Action.KEY_CREATED, key.id, owner=key.owner)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlmodel import Session

from appliance.audit.actions import Action, Fact
from appliance.audit.chain import Anchor
from appliance.audit.record import append, event, unavailable
from appliance.audit.vault import Vault
from appliance.config.paths import Home, account, update_word
from appliance.store import maintenance, sessions
from appliance.store.files import Staged


class Acts:
    """One transaction of a command, and the events in it."""

    def __init__(self, session: Session, vault: Vault, actor: str) -> None:
        self.session = session
        self._vault = vault
        self._actor = actor
        self._noted: tuple[bytes, Anchor] | None = None

    def note(self, action: Action, target: str, **facts: Fact) -> None:
        """Put an act on record, together with what the session does. Raises audit-broken or audit-unavailable."""
        driver = self.session.connection().connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            self._noted = append(driver, self._vault, [event(action, self._actor, target, "", facts)])
        except (OSError, sqlite3.Error) as error:
            raise unavailable(error) from error

    def staged(self) -> tuple[Staged, Anchor] | None:
        """The anchor that belongs to it, on the disk but not in its place; None when nothing was noted."""
        if self._noted is None:
            return None
        try:
            return self._vault.stage(*self._noted), self._noted[1]
        except OSError as error:
            raise unavailable(error) from error


@contextmanager
def acting(home: Home, actor: str = "") -> Iterator[Acts]:
    """A transaction for an act of the admin, or of an `actor`. Nobody else can write meanwhile, so keep it short.

    Raises audit-broken, audit-unavailable, disk-full, or updating; then nothing of it was done.
    """
    home.prepare()
    # What is changed during an update could be undone with it.
    maintenance.admit(home.maintenance, update_word())
    vault = Vault(home)
    staged: tuple[Staged, Anchor] | None = None
    try:
        with sessions.session(home.database, alone=True) as session:
            acts = Acts(session, vault, actor or f"os:{account()}")
            yield acts
            # Before the commit: a disk that has no room for the anchor stops the act.
            staged = acts.staged()
        if staged is not None:
            # The act is done and on record; an anchor that stays behind is renewed by the next event.
            with suppress(OSError):
                vault.put(*staged)
    finally:
        if staged is not None:
            staged[0].discard()
