"""One batch that has not ended, from the check of its input to its files of results.

A line counts as done once it is in the batch's journal, on the disk. Whatever is killed at whatever moment, those
are not asked again; the few that were under way are.
"""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.gateway.batch_files import check_input, read_input, write_results
from appliance.gateway.batch_line import Answered, ask_line
from appliance.gateway.batch_turns import Turns
from appliance.gateway.batches import journal_of, mark
from appliance.gateway.endpoints import ENDPOINTS
from appliance.gateway.files import now_s
from appliance.policy.batches import (
    CANCELLED,
    EXPIRED,
    STOPPABLE,
    Batch,
    Fault,
    Line,
    Reader,
    Status,
    Waiting,
    answered,
    result_of,
    wait_for,
)
from appliance.policy.grants import permit
from appliance.store.jsonl import JsonLines

if TYPE_CHECKING:
    from appliance.gateway.box import Box

Made = TypeVar("Made")
# What lines under way get to end when their batch is stopped, and what is waited for a disk that is full.
_GRACE_S: Final = 10.0
_DISK_S: Final = 10.0
# Speed is that of the last lines.
_RATE_OVER: Final = 200
_SAVE_EVERY_S: Final = 1.0
_BUG: Final = Fault("internal", "Something went wrong inside the appliance; the admin sees it in the logs.")


class Work:
    """The work on one batch."""

    def __init__(self, box: Box, id: str, turns: Turns) -> None:
        self.id = id
        self._box = box
        self._turns = turns
        self._who: Waiting = (self.batch.owner, self.batch.created_us, id)
        self._endpoint = next(one for one in ENDPOINTS if one.path == self.batch.endpoint)
        self._gone = asyncio.Event()
        self._read_enough = threading.Event()
        self._ended = threading.Event()
        self._stopping = False
        self._dealing: asyncio.Task[None] | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self._input: Iterator[Line | Fault] | None = None
        self._journal: JsonLines | None = None
        self._done: set[str] = set()
        self._good = 0
        self._again: deque[Line] = deque()
        self._tries: dict[int, int] = {}
        self._paused_until = 0.0
        self._times: deque[float] = deque(maxlen=_RATE_OVER)
        self._saved: tuple[float, Batch | None] = (0.0, None)

    @property
    def batch(self) -> Batch:
        """The batch as it is now."""
        return self._box.batches[self.id]

    async def live(self) -> None:
        """Do all of it, from wherever it stands."""
        try:
            if self.batch.status is Status.VALIDATING:
                await self._validate()
            if self.batch.status is Status.IN_PROGRESS:
                await self._work()
            if not self.batch.ended:
                await self._finish()
        except Exception:  # noqa: BLE001 - the outermost frame of a batch: whatever arrives here is a bug, and says so
            note("bug", self.id, trace=traceback.format_exc())
            faults = (*self.batch.faults, _BUG)
            self._box.batches.change_soon(self.id, lambda one: one.moved(Status.FAILED, now_s(), faults=faults))
            with suppress(OSError):
                await self._box.batches.save(self.id)
        finally:
            self._read_enough.set()
            self._ended.set()

    async def look(self) -> None:
        """See whether it is to be stopped, and have its progress on the disk now and then."""
        batch = self.batch
        if batch.status is Status.CANCELLING or mark(self._box.batches.folder, self.id).exists():
            self.stop(Status.CANCELLED, CANCELLED)
        elif time.time() >= batch.expires_at:
            self.stop(Status.EXPIRED, EXPIRED)
        at, saved = self._saved
        now = time.monotonic()
        if batch is not saved and batch.status is Status.IN_PROGRESS and now - at >= _SAVE_EVERY_S:
            self._saved = (now, batch)
            # It is only for those who look: what counts is the journal.
            with suppress(OSError):
                await self._box.batches.save(self.id)

    def stop(self, ending: Status, reason: Fault) -> None:
        """End it early: lines under way are cut off at once, as if their client had hung up."""
        if self._stopping or self.batch.status not in STOPPABLE | {Status.CANCELLING}:
            return
        self._stopping = True
        self._box.batches.change_soon(self.id, lambda one: one.stopped(ending, reason, now_s()))
        self._gone.set()
        self._read_enough.set()
        if self._dealing is not None:
            self._dealing.cancel()

    async def _validate(self) -> None:
        """Check the input."""
        batch = self.batch
        path = self._box.files.path(batch.input_file_id)
        total, faults = await asyncio.to_thread(
            check_input, path, batch.endpoint, self._box.max_body, self._read_enough
        )
        if self._stopping:
            return
        if faults:
            await self._save_for_sure(lambda one: one.moved(Status.FAILED, now_s(), faults=faults))
        else:
            await self._save_for_sure(lambda one: one.moved(Status.IN_PROGRESS, now_s(), total=total))

    async def _work(self) -> None:
        """Ask for every line that is not done."""
        dealing = self._dealing = asyncio.create_task(self._deal())
        try:
            await asyncio.wait([dealing])
            if self._lines:
                await asyncio.wait(self._lines, timeout=_GRACE_S)
        finally:
            self._read_enough.set()
            under_way = (dealing, *self._lines)
            for task in under_way:
                task.cancel()
            ends = await asyncio.gather(*under_way, return_exceptions=True)
            if self._journal is not None:
                self._journal.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end
        if not self._stopping:
            await self._save_for_sure(lambda one: one.moved(Status.FINALIZING, now_s()))

    async def _deal(self) -> None:
        """Hand out lines as turns come; ends when the last is done."""
        while True:
            await asyncio.sleep(max(0.0, self._paused_until - time.monotonic()))
            await self._turns.enter(self._who)
            line = None
            try:
                if self._journal is None:
                    await self._open()
                line = self._again.popleft() if self._again else await asyncio.to_thread(self._next)
            finally:
                if line is None:
                    self._turns.leave(self._who)
            if line is not None:
                task = asyncio.create_task(self._one(line))
                self._lines.add(task)
                task.add_done_callback(self._over)
            elif self._lines:
                await asyncio.wait(self._lines, return_when=asyncio.FIRST_COMPLETED)
            elif not self._again:
                return

    def _over(self, task: asyncio.Task[None]) -> None:
        """A line is over; a bug ends the batch."""
        self._turns.leave(self._who)
        if not task.cancelled() and task.exception() is not None and self._dealing is not None:
            self._dealing.cancel()
            return
        self._lines.discard(task)

    async def _open(self) -> None:
        """Open the journal, which says what is done, and the input."""
        batch, box = self.batch, self._box
        journal = journal_of(box.batches.folder, self.id)
        self._journal = await self._for_sure(lambda: asyncio.to_thread(JsonLines, journal, self._remember))
        path = box.files.path(batch.input_file_id)
        self._input = read_input(path, Reader(batch.endpoint), box.max_body, self._read_enough)
        good, bad = self._good, len(self._done) - self._good
        box.batches.change_soon(self.id, lambda one: replace(one, completed=good, failed=bad))

    def _next(self) -> Line | None:
        """The next line that is not done, on a thread."""
        assert self._input is not None
        for found in self._input:
            if isinstance(found, Line) and found.custom_id not in self._done:
                return found
        return None

    def _remember(self, line: bytes) -> bool:
        """Take a line of the journal as done."""
        found = result_of(line)
        if found is None:
            return False
        self._done.add(found[0])
        self._good += found[1]
        return True

    async def _one(self, line: Line) -> None:
        """Ask for one line, and put what came of it on the journal, or back into the line."""
        batch, box = self.batch, self._box
        try:
            principal = box.credentials.resolve_key(batch.key_id, batch.address)
            permit(principal, "batches", ())
            said = await ask_line(box, self._endpoint, principal, batch, line, self._gone)
        except ApplianceError as error:
            self.stop(Status.FAILED, Fault(error.code, f"{error.sentence} {error.hint}"))
            return
        if said is None:
            return
        tries = self._tries[line.number] = self._tries.get(line.number, 0) + 1
        left_s = batch.expires_at - time.time()
        wait_s = wait_for(said.code, said.hopeless, said.retry_after_s, tries, left_s) if said.code else None
        if wait_s is not None:
            self._again.append(line)
            self._paused_until = time.monotonic() + wait_s
            return
        await self._keep(line, said)

    async def _keep(self, line: Line, said: Answered) -> None:
        """Put a result on the journal: when this returns, it is on the disk and counts."""
        journal = self._journal
        assert journal is not None
        id = f"batch_req_{self.id.removeprefix('batch_')}_{line.number}"
        record = answered(id, line.custom_id, said.status, said.request_id, said.body)
        await self._for_sure(lambda: asyncio.to_thread(journal.append, record))
        self._tries.pop(line.number, None)
        good = said.status == 200
        now = time.monotonic()
        self._times.append(now)
        rate = (len(self._times) - 1) / (now - self._times[0]) if len(self._times) > 1 else 0.0
        self._box.batches.change_soon(
            self.id,
            lambda one: replace(one, completed=one.completed + good, failed=one.failed + (not good), lines_per_s=rate),
        )

    async def _finish(self) -> None:
        """Write the results, and say that it has ended."""
        files = self._box.files
        most = self._box.max_body
        found = await self._for_sure(lambda: asyncio.to_thread(write_results, files, self.batch, most, self._ended))
        for stored in (found.output, found.error):
            if stored is not None:
                files.know(stored)
        await self._save_for_sure(
            lambda one: one.moved(
                one.ending,
                now_s(),
                completed=found.completed,
                failed=found.failed,
                output_file_id=found.output and found.output.id,
                error_file_id=found.error and found.error.id,
            )
        )
        self._box.batches.clear(self.id)

    async def _save_for_sure(self, how: Callable[[Batch], Batch]) -> None:
        """Change the batch, and go on only once that is on the disk."""
        self._box.batches.change_soon(self.id, how)
        await self._for_sure(lambda: self._box.batches.save(self.id))

    async def _for_sure(self, write: Callable[[], Awaitable[Made]]) -> Made:
        """Write to the disk; one that is full is waited for."""
        while True:
            try:
                return await write()
            except OSError as error:
                note("batch-waits", self.id, error=str(error))
                await asyncio.sleep(_DISK_S)
