"""What the commands say: the one home of printing and of exit codes.

Documents (`--json`) and answers go to standard output, everything else to standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from appliance.errors import BUG, INTERRUPTED, ApplianceError
from appliance.units import show_transfer

# The rate is that of the last ten seconds; a log gets a line every five.
_RATE_EVERY_S = 0.25
_RATE_POINTS = 40
_LINE_EVERY_S = 5.0
_BUG_HINT = "This is a bug of the appliance. Please send the lines above to whoever supports it."


def say(text: str) -> None:
    """A line for the person, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Text of the result itself, on standard output, without a line end."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output (`| head`) has seen enough: what is left goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        leave(0)


def is_terminal() -> bool:
    """Whether somebody looks at the result itself."""
    return sys.stdout.isatty()


def document(value: Any) -> None:
    """One JSON document on standard output."""
    write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on standard output; nothing but its head when there are no rows."""
    cells = [[("" if cell is None else str(cell)) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[place]) for row in cells) for place in range(len(head))]
    numeric = [
        all(isinstance(row[place], int | float | None) for row in rows) and bool(rows) for place in range(len(head))
    ]
    for row in cells:
        shown = (cell.rjust(w) if num else cell.ljust(w) for cell, w, num in zip(row, widths, numeric, strict=True))
        write("  ".join(shown).rstrip() + "\n")


class Progress:
    """Progress of long work on standard error: a bar on a terminal, else a line for each tenth or every few seconds."""

    def __init__(self) -> None:
        self._what = ""
        self._tenth = -1
        self._terminal = sys.stderr.isatty()
        self._width = 0

    def count(self, what: str, done: int, total: int) -> None:
        """Steps done, of how many; without a total only what is being done."""
        self._show(what, done, total, f"{done} of {total}")

    def size(self, what: str) -> Callable[[int, int], None]:
        """A listener for bytes done, of how many; it also shows their rate and the time left."""
        # Instants and bytes of the last seconds: the first one may be where an earlier run stopped.
        seen: deque[tuple[float, int]] = deque(maxlen=_RATE_POINTS)
        said = -_LINE_EVERY_S

        def listen(done: int, total: int) -> None:
            nonlocal said
            now = time.monotonic()
            ended = done == total
            if not ended and seen and now - seen[-1][0] < _RATE_EVERY_S:
                return
            if ended and seen and seen[-1][1] == done:
                return
            seen.append((now, done))
            passed = now - seen[0][0]
            text = show_transfer(done, total, (done - seen[0][1]) / passed if passed else 0.0)
            if self._terminal:
                self._bar(what, done, total, text)
            elif ended or now - said >= _LINE_EVERY_S:
                said = now
                say(f"{what}: {text}")

        return listen

    def _show(self, what: str, done: int, total: int, text: str) -> None:
        if what != self._what:
            self._what, self._tenth = what, -1
            if not total:
                say(what)
        if not total:
            return
        if self._terminal:
            self._bar(what, done, total, text)
        elif 10 * done // total > self._tenth:
            self._tenth = 10 * done // total
            say(f"{what}: {text}")

    def _bar(self, what: str, done: int, total: int, text: str) -> None:
        bar = ("#" * (30 * done // total)).ljust(30, ".")
        line = f"{what}  [{bar}] {text} "
        # Blanks over what a longer line before has left.
        sys.stderr.write("\r" + line.ljust(self._width) + ("\n" if done == total else ""))
        sys.stderr.flush()
        self._width = 0 if done == total else len(line)


@contextlib.contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Turn every failure into words and an exit code: known ones by their code, anything else as a bug."""
    try:
        yield
    except ApplianceError as error:
        _fail(error, as_json)
        leave(error.kind.exit)
    except KeyboardInterrupt:
        say("Interrupted.")
        leave(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the outermost frame: whatever arrives here is a bug, and says so
        say(traceback.format_exc())
        _fail(ApplianceError("internal", f"{type(error).__name__}: {error}.", _BUG_HINT), as_json)
        leave(BUG)


def _fail(error: ApplianceError, as_json: bool) -> None:
    if as_json:
        document({"error": error.to_json()})
    say(f"Error ({error.code}): {error.sentence}\n  Next: {error.hint}")


def leave(code: int) -> NoReturn:
    """End the process with an exit code."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.exit(code)
