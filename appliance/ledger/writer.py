"""The ledger's writer: one thread, one transaction for all that has piled up.

Callers await until their row is committed, so "opened" and "settled" mean on disk. While
one transaction is being synced the next one gathers; that is what keeps a durable row cheap.

A settlement that cannot be written (the disk is full) is not forgotten: it is owed, and
goes out ahead of the next rows. Until then every opening fails, so nothing is answered
that could not be put on record.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.ledger.entry import LAST_ID_SQL, OPEN_SQL, SETTLE_SQL, SWEEP_SQL, Opening, Outcome, Settlement, row
from appliance.store.schema import connect
from appliance.units import now_us

# Rows of one transaction at most, so that a commit stays short.
_BATCH = 512


@dataclass(frozen=True, slots=True)
class _Wish:
    """A row to write, and who waits for it."""

    value: Opening | Settlement | None
    done: asyncio.Future[None]


class LedgerWriter:
    """Writes calls into the database. One per process, and one process per database."""

    def __init__(self, path: Path) -> None:
        """Open the database and close what an earlier process left open."""
        self._connection = connect(path)
        self.swept = self._connection.execute(SWEEP_SQL, (now_us(),)).rowcount
        self._next_id: int = self._connection.execute(LAST_ID_SQL).fetchone()[0] + 1
        self._wishes: queue.SimpleQueue[_Wish | None] = queue.SimpleQueue()
        self._owed: list[Settlement] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def start(self) -> None:
        """Begin to write; call it on the event loop that will wait."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Write what is queued, then end."""
        self._wishes.put(None)
        self._thread.join()
        self._connection.close()

    def take_id(self) -> int:
        """The next row's id. Ids are ours because this process is the only writer."""
        taken = self._next_id
        self._next_id += 1
        return taken

    def write(self, value: Opening | Settlement | None) -> asyncio.Future[None]:
        """Put a row on record; the future is done once it is committed, or raises why it is not.

        None writes nothing but commits: it tells whether the ledger takes rows.
        """
        assert self._loop is not None, "start() comes first"
        done = self._loop.create_future()
        self._wishes.put(_Wish(value, done))
        return done

    def _run(self) -> None:
        while True:
            batch, last = self._gather()
            if batch:
                failure = self._commit(batch)
                self._call(partial(_resolve, batch, failure))
            if last:
                return

    def _gather(self) -> tuple[list[_Wish], bool]:
        """Wait for one wish, then take all that are there; True as the second when it is time to end."""
        batch: list[_Wish] = []
        wish = self._wishes.get()
        while wish is not None:
            batch.append(wish)
            if len(batch) >= _BATCH:
                return batch, False
            try:
                wish = self._wishes.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[_Wish]) -> sqlite3.Error | None:
        settled = [wish.value for wish in batch if isinstance(wish.value, Settlement)]
        opened = [row(wish.value) for wish in batch if isinstance(wish.value, Opening)]
        self._owed += settled
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            if opened:
                self._connection.executemany(OPEN_SQL, opened)
            if self._owed:
                self._connection.executemany(SETTLE_SQL, [row(value) for value in self._owed])
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            # Whoever waits for it now hears of the failure, and so does not get a complete answer.
            self._owed = [_failed(value, error) for value in self._owed]
            return error
        self._owed.clear()
        return None

    def _call(self, act: Callable[[], None]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(act)
        except RuntimeError:
            # The loop has ended: nobody waits any more, and the rows are on disk all the same.
            return


def _resolve(batch: list[_Wish], failure: sqlite3.Error | None) -> None:
    for wish in batch:
        if wish.done.done():
            continue
        if failure is None:
            wish.done.set_result(None)
        else:
            wish.done.set_exception(_explain(failure))


def _failed(value: Settlement, error: sqlite3.Error) -> Settlement:
    if value.outcome is not Outcome.COMPLETE:
        return value
    return replace(value, outcome=Outcome.FAILED, error=_explain(error).code)


def _explain(error: sqlite3.Error) -> ApplianceError:
    if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
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
