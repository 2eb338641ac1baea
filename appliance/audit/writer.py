"""The gateway's side of the audit log: events that are on the disk before what they tell of happens.

A thread commits, syncs the write-ahead log and renews the anchor, so a slow disk holds up only
whoever waits for the event. Events that come together share the work. The commit itself does not
sync: the database would be locked meanwhile, and the ledger would wait for it on the event loop.

Refusals may come in floods. The first of a kind is written before the refusal goes out; its repeats
within a minute are counted, and written as one event when the minute is over.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from appliance.audit.actions import LONGEST, Action, Fact
from appliance.audit.chain import Anchor, Event, head_proof
from appliance.audit.log import note
from appliance.audit.record import append, event, unavailable
from appliance.audit.vault import Vault
from appliance.config.paths import Home
from appliance.errors import ApplianceError
from appliance.store.schema import connect
from appliance.units import now_us, show_instant

# How long repeats of a refusal are counted before they are written.
WINDOW_S = 60.0
# Kinds of refusals in a window that are told apart; the rest is counted together, by its code alone.
MOST_KINDS = 100
MANY = "many"
# A log that could not be written is tried again after this long.
_RETRY_S = 1.0
# The newest place of the chain goes into the gateway's log at most this often.
_HEAD_EVERY_S = 60.0
ACTOR = "gateway"

Done = asyncio.Future[None]


@dataclass(slots=True)
class _Refusals:
    """Refusals of one kind: since when, how many after the first; `first` until that one is on record."""

    until: float
    since: int
    first: Done | None
    count: int = 0
    request_id: str = ""


class AuditWriter:
    """Writes events of the gateway. Make it on the event loop, after the database has its schema."""

    def __init__(self, home: Home) -> None:
        """Open the log; makes its key at the first use. Raises audit-broken or audit-unavailable."""
        self._loop = asyncio.get_running_loop()
        self._vault = Vault(home)
        self._connection = connect(home.database)
        try:
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA wal_autocheckpoint = 0")
            self._head = self._transact([])
            self._log = os.open(f"{home.database}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, sqlite3.Error) as error:
            self._connection.close()
            raise unavailable(error) from error
        except ApplianceError:
            self._connection.close()
            raise
        self._thread = ThreadPoolExecutor(1, "audit")
        self._pending: list[tuple[Event, Done]] = []
        # Counted refusals, until they are on record.
        self._owed: list[Event] = []
        self._refusals: dict[tuple[str, str, str], _Refusals] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._working: asyncio.Task[None] | None = None
        self._closing = False
        self._failure: BaseException | None = None
        self._failed_at = self._refused = 0
        self._noted_at = -_HEAD_EVERY_S
        self._note_head(0.0)

    async def write(self, action: Action, actor: str, target: str, request_id: str = "", **facts: Fact) -> None:
        """Put an event on record; returns once it is on the disk. Raises audit-unavailable."""
        self.check()
        await asyncio.shield(self._submit(event(action, actor, target, request_id, facts)))

    async def deny(self, actor: str, code: str, target: str, request_id: str) -> None:
        """Put a refusal on record, before it goes out. Raises audit-unavailable.

        `actor` is a principal's name, or the address where there is none; `target` what was asked for.
        """
        self.check()
        kind = (actor[:LONGEST], code, target[:LONGEST])
        known = self._refusals.get(kind)
        if known is None and len(self._refusals) >= MOST_KINDS:
            kind = (MANY, code, MANY)
            known = self._refusals.get(kind)
        if known is None:
            known = self._first(kind, request_id)
        else:
            known.count += 1
            known.request_id = request_id
        if known.first is not None:
            await asyncio.shield(known.first)

    def check(self) -> None:
        """Raises audit-unavailable while the log cannot be written; it is tried again every second."""
        if self._failure is not None:
            self._refused += 1
            raise unavailable(self._failure)

    async def close(self) -> None:
        """Write what was counted, then end. What cannot be written is told to the gateway's log."""
        for timer in (self._timer, self._again):
            if timer is not None:
                timer.cancel()
        self._closing = True
        self._settle(None)
        self._work()
        while self._working is not None:
            await self._working
        if self._owed:
            note("audit-not-written", "", events=len(self._owed), why=str(self._failure))
        self._thread.shutdown()
        self._note_head(0.0)
        os.close(self._log)
        self._connection.close()

    def _first(self, kind: tuple[str, str, str], request_id: str) -> _Refusals:
        """The first refusal of a kind: written at once. One that cannot be is no first."""
        actor, code, target = kind
        done = self._submit(event(Action.DENIED, actor, target, request_id, {"code": code}))
        known = self._refusals[kind] = _Refusals(self._loop.time() + WINDOW_S, now_us(), done)

        def told(ended: Done) -> None:
            known.first = None
            if ended.cancelled() or ended.exception() is not None:
                self._refusals.pop(kind, None)

        done.add_done_callback(told)
        self._wake()
        return known

    def _wake(self) -> None:
        """See to it that windows end when they should."""
        if self._timer is None and self._refusals:
            oldest = next(iter(self._refusals.values()))
            self._timer = self._loop.call_at(oldest.until, self._over)

    def _over(self) -> None:
        self._timer = None
        self._settle(self._loop.time())
        self._work()
        self._wake()

    def _settle(self, now: float | None) -> None:
        """Owe one event for the repeats of each kind whose window is over; of every kind when `now` is None."""
        # Windows are equally long, so they end in the order in which they began.
        for kind, known in list(self._refusals.items()):
            if now is not None and known.until > now:
                return
            del self._refusals[kind]
            if known.count:
                actor, code, target = kind
                facts: dict[str, Fact] = {"code": code, "count": known.count, "since": show_instant(known.since)}
                self._owed.append(event(Action.DENIED, actor, target, known.request_id, facts))

    def _submit(self, submitted: Event) -> Done:
        done: Done = self._loop.create_future()
        # Whoever waits for it may be gone: a client that has hung up.
        done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._pending.append((submitted, done))
        self._work()
        return done

    def _work(self) -> None:
        if self._working is None and (self._pending or self._owed):
            self._working = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        """Write all there is, batch by batch."""
        try:
            while self._pending or (self._owed and self._failure is None):
                owed, pending = len(self._owed), self._pending
                self._pending = []
                try:
                    failure = await self._try([*self._owed, *(submitted for submitted, _ in pending)])
                except BaseException as bug:
                    # Nobody is left waiting for ever, and nobody is told that it is on record.
                    for _, done in pending:
                        done.set_exception(unavailable(bug))
                    raise
                if failure is None:
                    del self._owed[:owed]
                self._turn(failure)
                for _, done in pending:
                    if failure is None:
                        done.set_result(None)
                    else:
                        done.set_exception(unavailable(failure))
        finally:
            self._working = None

    async def _try(self, events: list[Event]) -> BaseException | None:
        """Have the thread write events; why it could not."""
        try:
            await self._loop.run_in_executor(self._thread, self._commit, events)
        except (OSError, sqlite3.Error, ApplianceError) as error:
            return error
        self._note_head(_HEAD_EVERY_S)
        return None

    def _turn(self, failure: BaseException | None) -> None:
        """Remember whether the log can be written. As long as it cannot, keep trying."""
        if failure is not None and self._failure is None:
            self._failed_at, self._refused = now_us(), 1
        self._failure = failure
        if failure is not None and not self._closing:
            self._again = self._loop.call_later(_RETRY_S, self._retry)

    def _retry(self) -> None:
        """Write that the log is written again: that this can be written proves it."""
        facts: dict[str, Fact] = {"refused": self._refused, "since": show_instant(self._failed_at)}
        self._submit(event(Action.AUDIT_RESUMED, ACTOR, "", "", facts))

    def _note_head(self, every_s: float) -> None:
        """Note the newest place of the chain in the gateway's log: a second place that whoever cuts it must change."""
        now = time.monotonic()
        if now - self._noted_at >= every_s:
            self._noted_at = now
            key, anchor = self._head
            last = anchor.last
            note("audit-head", "", seq=last.seq, mac=last.mac, proof=head_proof(key, last))

    def _commit(self, events: list[Event]) -> None:
        """On the thread: commit, sync, renew the anchor."""
        if self._failure is not None:
            # Where only the anchor fails, each new try would leave one more event behind.
            self._vault.put(self._vault.stage(*self._head), self._head[1])
        key, anchor = self._transact(events)
        os.fdatasync(self._log)
        self._vault.put(self._vault.stage(key, anchor), anchor)
        self._head = (key, anchor)

    def _transact(self, events: list[Event]) -> tuple[bytes, Anchor]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            found = append(self._connection, self._vault, events)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return found
