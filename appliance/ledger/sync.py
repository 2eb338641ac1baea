"""Sync a file on a thread, and tell the event loop: a slow disk never holds up whoever is being served.

Where nobody is, and the disk is quick, `at_once` saves the way to the thread and back.

Two event counters instead of an executor: handing work to a thread and back is most of what a
sync on a quick disk costs, and this takes a third off.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from typing import Final

# A disk that syncs within so many seconds is quick: the way to the thread and back takes a good part of that.
_QUICK_S: Final = 0.001


class Syncer:
    """One thread that syncs one file whenever it is asked to."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        file: int,
        told: Callable[[OSError | None], None],
        after: Callable[[], None],
    ) -> None:
        """`told` hears how each sync went, on the event loop; `after` is then run on the thread."""
        self._loop = loop
        self._file = file
        self._told = told
        self._after = after
        self._failure: OSError | None = None
        self._took_s = _QUICK_S
        self._ending = False
        self._asked = os.eventfd(0, os.EFD_CLOEXEC)
        self._done = os.eventfd(0, os.EFD_CLOEXEC)
        loop.add_reader(self._done, self._tell)
        self._thread = threading.Thread(target=self._work, name="ledger-sync", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Sync once; ask again only after `told` has been called."""
        os.eventfd_write(self._asked, 1)

    @property
    def is_quick(self) -> bool:
        """Whether the last sync was quick, so that the next one may be expected to be."""
        return self._took_s < _QUICK_S

    def at_once(self) -> OSError | None:
        """Sync on the caller's thread; returns how it went. Not while another one is asked for."""
        self._sync()
        return self._failure

    def close(self) -> None:
        """End the thread."""
        self._ending = True
        self.ask()
        self._thread.join()
        self._loop.remove_reader(self._done)
        os.close(self._asked)
        os.close(self._done)

    def _work(self) -> None:
        while True:
            os.eventfd_read(self._asked)
            if self._ending:
                return
            self._sync()
            os.eventfd_write(self._done, 1)
            self._after()

    def _sync(self) -> None:
        began = time.perf_counter()
        try:
            os.fdatasync(self._file)
            self._failure = None
        except OSError as error:
            self._failure = error
        self._took_s = time.perf_counter() - began

    def _tell(self) -> None:
        os.eventfd_read(self._done)
        self._told(self._failure)
