"""Show logs: their last lines, and what is appended to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.cli.output import write


class Follower:
    """Some logs, up to where they end now; `more` goes on from there, so no line is missed or shown twice."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._places = {file: file.stat().st_size if file.exists() else 0 for file in files}

    def last(self, count: int) -> None:
        """Print the last lines of each."""
        for file, place in self._places.items():
            with file.open("rb") as opened:
                _show(file, opened.read(place).splitlines()[-count:])

    def more(self) -> None:
        """Print the whole lines that have been appended since the last time."""
        for file, place in self._places.items():
            if not file.exists():
                continue
            with file.open("rb") as opened:
                # A log that shrank was cut: begin anew.
                start = opened.seek(place if file.stat().st_size >= place else 0)
                new = opened.read()
            whole = new.rfind(b"\n") + 1
            _show(file, new[:whole].splitlines())
            self._places[file] = start + whole


def _show(file: Path, lines: Sequence[bytes]) -> None:
    write("".join(f"{file.stem}: {line.decode('utf-8', 'replace')}\n" for line in lines))
