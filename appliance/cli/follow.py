"""Show logs: their last lines, and what is appended to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from appliance.cli.output import write


class Line(NamedTuple):
    """One line of a log, and the log's name."""

    log: str
    text: str


class Follower:
    """Some logs, up to where they end now; `more` goes on from there, so no line is missed or shown twice."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._places = {file: file.stat().st_size if file.exists() else 0 for file in files}

    def last(self, count: int) -> list[Line]:
        """The last lines of each."""
        found: list[Line] = []
        for file, place in self._places.items():
            with file.open("rb") as opened:
                found += _lines(file, opened.read(place).splitlines()[-count:])
        return found

    def more(self) -> list[Line]:
        """The whole lines that have been appended since the last time."""
        found: list[Line] = []
        for file, place in self._places.items():
            if not file.exists():
                continue
            with file.open("rb") as opened:
                # A log that shrank was cut: begin anew.
                start = opened.seek(place if file.stat().st_size >= place else 0)
                new = opened.read()
            whole = new.rfind(b"\n") + 1
            found += _lines(file, new[:whole].splitlines())
            self._places[file] = start + whole
        return found


def show(lines: Sequence[Line]) -> None:
    """Print lines, each with the name of its log."""
    write("".join(f"{line.log}: {line.text}\n" for line in lines))


def _lines(file: Path, lines: Sequence[bytes]) -> list[Line]:
    return [Line(file.stem, line.decode("utf-8", "replace")) for line in lines]
