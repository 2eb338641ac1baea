"""What the commands say: the one home of printing and of exit codes.

Documents (`--json`) and answers go to standard output, everything else to standard error.
"""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from appliance.errors import BUG, INTERRUPTED, ApplianceError
from appliance.units import show_bytes


def say(text: str) -> None:
    """A line for the person, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def write(text: str) -> None:
    """Text of the result itself, on standard output, without a line end."""
    sys.stdout.write(text)
    sys.stdout.flush()


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
    """Progress of long work on standard error: a bar on a terminal, else a line for each tenth."""

    def __init__(self) -> None:
        self._what = ""
        self._tenth = -1
        self._terminal = sys.stderr.isatty()

    def count(self, what: str, done: int, total: int) -> None:
        """Steps done, of how many; without a total only what is being done."""
        self._show(what, done, total, f"{done} of {total}")

    def size(self, what: str) -> Callable[[int, int], None]:
        """A listener for bytes done, of how many."""
        return lambda done, total: self._show(what, done, total, f"{show_bytes(done)} of {show_bytes(total)}")

    def _show(self, what: str, done: int, total: int, text: str) -> None:
        if what != self._what:
            self._what, self._tenth = what, -1
            if not total:
                say(what)
        if not total:
            return
        if self._terminal:
            bar = ("#" * (30 * done // total)).ljust(30, ".")
            sys.stderr.write(f"\r{what}  [{bar}] {text} " + ("\n" if done == total else ""))
            sys.stderr.flush()
        elif 10 * done // total > self._tenth:
            self._tenth = 10 * done // total
            say(f"{what}: {text}")


@contextlib.contextmanager
def reported(as_json: bool) -> Iterator[None]:
    """Turn every failure into words and an exit code: known ones by their code, anything else as a bug."""
    try:
        yield
    except ApplianceError as error:
        if as_json:
            document({"error": error.to_json()})
        say(f"Error ({error.code}): {error.sentence}\n  Next: {error.hint}")
        leave(error.kind.exit)
    except KeyboardInterrupt:
        say("Interrupted.")
        leave(INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (`| head`) has seen enough.
        leave(0)
    except Exception:  # noqa: BLE001 - the outermost frame: whatever arrives here is a bug, and says so
        say(traceback.format_exc())
        say("This is a bug of the appliance. Please send the lines above to whoever supports it.")
        leave(BUG)


def leave(code: int) -> NoReturn:
    """End the process with an exit code."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.exit(code)
