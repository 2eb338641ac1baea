"""Works on all batches that have not ended, as long as the gateway serves."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from appliance.audit.log import note
from appliance.gateway.batch_turns import Turns
from appliance.gateway.batch_work import Work

if TYPE_CHECKING:
    from appliance.gateway.box import Box

# How soon a command's mark, or the end of a window, is noticed.
_LOOK_EVERY_S: Final = 0.5


@asynccontextmanager
async def working(box: Box, lines: int) -> AsyncIterator[None]:
    """Work on the batches while the block runs, `lines` requests at once."""
    task = asyncio.create_task(_work(box, Turns(lines, lambda: box.doors is not None and box.doors.exists())))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _work(box: Box, turns: Turns) -> None:
    batches = box.batches
    works: dict[str, tuple[Work, asyncio.Task[None]]] = {}
    try:
        while True:
            batches.changed.clear()
            for batch in batches.unfinished():
                if batch.id not in works:
                    work = Work(box, batch.id, turns)
                    works[batch.id] = (work, asyncio.create_task(work.live()))
            for id, (work, task) in list(works.items()):
                if task.done():
                    del works[id]
                else:
                    await work.look()
            turns.give()
            with suppress(TimeoutError):
                await asyncio.wait_for(batches.changed.wait(), _LOOK_EVERY_S if works else None)
    except Exception:
        note("bug", "batches", trace=traceback.format_exc())
        raise
    finally:
        tasks = [task for _, task in works.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
