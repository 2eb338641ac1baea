"""What sign-on does again and again, on a thread of its own."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable

from appliance.audit.log import note
from appliance.errors import ApplianceError

Task = Callable[[Callable[[], bool]], object]


class Repeating(threading.Thread):
    """Does something every `pause_s` seconds until `stop`. What fails is put on record, and the next time tries anew.

    The task is told how it knows that it should end early. `missed` is the word of the log for a failure that is not
    the code's own mistake.
    """

    def __init__(self, name: str, missed: str, pause_s: float, task: Task, *, at_once: bool = True) -> None:
        super().__init__(name=name, daemon=True)
        self._missed = missed
        self._pause_s = pause_s
        self._task = task
        self._at_once = at_once
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End, once what is under way has been answered."""
        self._stopped.set()
        self.join()

    def run(self) -> None:
        """Do it at once, or after the first pause; then again and again."""
        if not self._at_once and self._stopped.wait(self._pause_s):
            return
        while True:
            try:
                self._task(self._stopped.is_set)
            except ApplianceError as error:
                note(self._missed, "", code=error.code, why=error.sentence)
            except Exception:  # noqa: BLE001 - the outermost frame of a thread: whatever arrives here must not end it
                note("bug", "", task=self.name, trace=traceback.format_exc())
            if self._stopped.wait(self._pause_s):
                return
