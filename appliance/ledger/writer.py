"""The ledger's writer: all rows of one turn of the event loop are one transaction.

An opening is done once it is committed: from then on it outlives a kill of this process.
A settlement is done once it is also synced to the disk: from then on it outlives a power
cut, and only then may the end of the answer go out. The commit costs microseconds and
happens on the event loop. The sync waits for the disk and happens on a thread; it is the
dear part, so settlements share it: each waits for the others that are under way, but only
a moment. Where none is, and the disk is quick, it happens at once.

A settlement that cannot be written (the disk is full) is not forgotten: it is owed, and
goes out ahead of the next rows. Until then every opening fails, so nothing is answered
that could not be put on record.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.ledger.entry import (
    LAST_ID_SQL,
    OPEN_SQL,
    SETTLE_SQL,
    SWEEP_SQL,
    Opening,
    Outcome,
    Settlement,
    open_row,
    settle_row,
)
from appliance.ledger.sync import Syncer
from appliance.store.schema import connect
from appliance.units import now_us

# How long a settlement waits for others to share its sync, while other calls are under way.
_GATHER_S = 0.003
# Commits after which the write-ahead log is copied into the database: some 4 MiB.
_CHECKPOINT_COMMITS = 250

Done = asyncio.Future[None]


class LedgerWriter:
    """Writes calls into the database. One per process, and one process per database."""

    def __init__(self, path: Path) -> None:
        """Open the database and close what an earlier process left open. Call it on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._connection = connect(path)
        # NORMAL: a commit does not sync. We do, on the thread, and just what FULL would: the log.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA wal_autocheckpoint = 0")
        self.swept = self._connection.execute(SWEEP_SQL, (now_us(),)).rowcount
        self._next_id: int = self._connection.execute(LAST_ID_SQL).fetchone()[0] + 1
        self._log = os.open(f"{path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        self._checkpointer = connect(path)
        self._syncer = Syncer(self._loop, self._log, self._synced, self._copy)
        self._openings: list[tuple[Opening, Done]] = []
        self._settlements: list[tuple[Settlement, Done]] = []
        self._owed: list[Settlement] = []
        self._unsynced: list[Done] = []
        self._waiting: list[Done] = []
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._commits = 0
        self._flushing = False

    def close(self) -> None:
        """Write and sync what is left, then end."""
        self._flush()
        self._syncer.close()
        os.fdatasync(self._log)
        os.close(self._log)
        self._checkpointer.close()
        self._connection.close()

    @property
    def owed(self) -> int:
        """How many settlements could not be written yet."""
        return len(self._owed)

    def take_id(self) -> int:
        """The next row's id. Ids are ours because this process is the only writer."""
        taken = self._next_id
        self._next_id += 1
        return taken

    def open(self, opening: Opening) -> Done:
        """Put a call on record; done once committed. Raises disk-full or ledger-unavailable."""
        done = self._loop.create_future()
        self._openings.append((opening, done))
        self._flush_soon()
        return done

    def settle(self, settlement: Settlement) -> Done:
        """Put the end of an opened call on record; done once synced. Raises as `open` does."""
        done = self._loop.create_future()
        self._settlements.append((settlement, done))
        self._flush_soon()
        return done

    def check(self) -> None:
        """Write what is owed. Raises when the ledger takes no rows."""
        failure = self._commit([], [])
        if failure is not None:
            raise _explain(failure)

    def flush(self) -> None:
        """Write all that was handed over until now, for whoever reads the rows next. Raises as `check` does."""
        self._flush()
        if self._owed:
            self.check()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Commit all rows of this turn, and have the settlements synced."""
        self._flushing = False
        openings, self._openings = self._openings, []
        settlements, self._settlements = self._settlements, []
        self._under_way -= len(settlements)
        failure = self._commit([opening for opening, _ in openings], [settled for settled, _ in settlements])
        if failure is not None:
            _resolve([done for _, done in openings + settlements], _explain(failure))
            return
        self._under_way += len(openings)
        _resolve([done for _, done in openings], None)
        self._unsynced += [done for _, done in settlements]
        self._sync_soon()

    def _commit(self, openings: list[Opening], settlements: list[Settlement]) -> sqlite3.Error | None:
        self._owed += settlements
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(OPEN_SQL, map(open_row, openings))
            self._connection.executemany(SETTLE_SQL, map(settle_row, self._owed))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            # Whoever waits for it now hears of the failure, and so does not get a complete answer.
            self._owed = [_failed(value, error) for value in self._owed]
            return error
        self._owed.clear()
        self._commits += 1
        return None

    def _sync_soon(self) -> None:
        """Sync at once when nobody is left who could join; else give the others a moment."""
        if not self._unsynced or self._waiting:
            return
        if self._under_way == 0:
            self._sync()
        elif self._timer is None:
            self._timer = self._loop.call_later(_GATHER_S, self._sync)

    def _sync(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting, self._unsynced = self._unsynced, []
        # With nobody under way there is nobody to hold up; and the log is copied on the thread.
        if self._under_way == 0 and self._syncer.is_quick and self._commits < _CHECKPOINT_COMMITS:
            self._synced(self._syncer.at_once())
        else:
            self._syncer.ask()

    def _synced(self, failure: OSError | None) -> None:
        waiting, self._waiting = self._waiting, []
        _resolve(waiting, None if failure is None else _explain(failure))
        self._sync_soon()

    def _copy(self) -> None:
        """On the thread: now and then copy the log into the database. Only speed depends on it."""
        if self._commits >= _CHECKPOINT_COMMITS:
            self._commits = 0
            with suppress(sqlite3.Error):
                self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _resolve(waiting: list[Done], failure: ApplianceError | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)


def _failed(value: Settlement, error: sqlite3.Error) -> Settlement:
    if value.outcome is not Outcome.COMPLETE:
        return value
    return replace(value, outcome=Outcome.FAILED, error=_explain(error).code)


def _explain(error: BaseException) -> ApplianceError:
    if isinstance(error, sqlite3.Error) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return ApplianceError(
            "disk-full",
            "The disk is full, so this call could not be put on record.",
            "Free some room; service returns by itself.",
            retry_after_s=30,
        )
    return ApplianceError(
        "ledger-unavailable",
        f"The ledger cannot be written: {error}.",
        "Run `appliance status`, and look at `appliance logs serve`.",
        retry_after_s=30,
    )
