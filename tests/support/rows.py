"""`appliance` with a catalogue of the test's own: python -m tests.support.rows ROWS.toml WORD..."""

from __future__ import annotations

import sys
from pathlib import Path

from appliance.catalog.models import parse
from appliance.cli.app import main
from appliance.control import plan
from tests.support.box import Box


class RowsBox(Box):
    """A box whose catalogue is the file `rows.toml` in its folder."""

    def argv(self, *words: str) -> list[str]:
        python, appliance = super().argv(*words)[:2], super().argv(*words)[4:]
        return [*python, "-m", "tests.support.rows", str(self.folder / "rows.toml"), *appliance]


if __name__ == "__main__":
    rows = parse(Path(sys.argv.pop(1)).read_text())
    plan.catalogue = lambda home=None: rows
    main()
