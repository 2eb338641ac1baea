"""Pass on what is appended to logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.cli.output import write


class Follower:
    """Some logs, from where they end now."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._places = {file: file.stat().st_size if file.exists() else 0 for file in files}

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
            for line in new[:whole].decode("utf-8", "replace").splitlines():
                write(f"{file.stem}: {line}\n")
            self._places[file] = start + whole
