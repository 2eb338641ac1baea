"""Open WebUI's list of changes, cut to the releases that its pages show.

At each start it reads the whole list, of every release there ever was, takes it apart as a web page and keeps all of
that in memory. It looks for the file beside its folder of packages first, where its own source tree has it, and only
then in its package. So the short list goes where it looks first, and nothing of Open WebUI is changed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from appliance.store.files import write_atomic

# Its pages show no more.
SHOWN: Final = 5
_NAME: Final = "CHANGELOG.md"
_RELEASE: Final = re.compile(r"^## ", re.MULTILINE)


def newest(text: str) -> str:
    """The head of a list of changes and its newest releases; the whole list where it has no more than those."""
    starts = [found.start() for found in _RELEASE.finditer(text)]
    return text[: starts[SHOWN]] if len(starts) > SHOWN else text


def shorten(python: Path) -> None:
    """Put the short list where the page of this environment's Python looks first. Nothing where it has no list."""
    for packages in (python.parent.parent / "lib").glob("python*/site-packages"):
        whole, short = packages / "open_webui" / _NAME, packages.parent / _NAME
        if whole.exists() and not short.exists():
            write_atomic(short, newest(whole.read_text("utf-8")).encode(), 0o644)
