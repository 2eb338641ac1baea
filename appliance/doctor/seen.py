"""Since when something is found: a small file in the state folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from appliance.store.files import write_atomic


def since(file: Path, keys: Iterable[str], unknown: bool, now: int) -> dict[str, int]:
    """When each of these findings was first met, in microseconds since 1970 UTC; the file is brought up to date.

    With `unknown`, some checks could not look, and what is not found now may be there all the same. Where nothing
    can be written, as on a full disk, the answer is the same and is forgotten.
    """
    before = _read(file)
    found = {key: min(before.get(key, now), now) for key in keys}
    after = {**before, **found} if unknown else found
    if after != before and file.parent.is_dir():
        with suppress(OSError):
            write_atomic(file, json.dumps(after, indent=1).encode(), 0o600)
    return found


def _read(file: Path) -> dict[str, int]:
    try:
        kept = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {key: at for key, at in kept.items() if isinstance(at, int)}
