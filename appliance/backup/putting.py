"""Put a restored state in the place of what is there, so that an interruption at any moment can be mended.

Everything old is moved aside first, then everything restored is moved in; the journal says which of the two is under
way, and either may be done again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from appliance.backup.snapshot import CONFIG, STATE
from appliance.config.paths import Home
from appliance.policy.backups import ASIDE, KEPT
from appliance.store.files import sync_folder, write_atomic
from appliance.units import now_us

_OUT, _IN = "out", "in"


def put(home: Home, restored: Path, aside: Path, about: dict[str, str]) -> None:
    """Replace all state and the settings by what was restored; what was there before goes into the folder `aside`.

    `about` is what `finish` gives back to whoever finds the rest undone.
    """
    names = sorted(path.name for path in (restored / STATE).iterdir())
    journal = {"step": _OUT, "restored": str(restored), "aside": str(aside), "names": names, "about": about}
    _note(home, journal)
    finish(home)


def finish(home: Home) -> dict[str, str] | None:
    """Go on with a replacement that is under way; what it is about, None where there is none."""
    if not home.restoring.exists():
        return None
    journal = json.loads(home.restoring.read_text())
    restored, aside = Path(journal["restored"]), Path(journal["aside"])
    if journal["step"] == _OUT:
        aside.mkdir(mode=0o700, exist_ok=True)
        _move_out(home, aside, but=set())
        for file in (home.config, home.local_models):
            # A copy: settings that are missing for a moment would be the default ones.
            if file.exists():
                shutil.copy2(file, aside / file.name)
        _put_log_aside(home)
        sync_folder(aside)
        _note(home, journal | {"step": _IN})
    _move_in(home, restored, aside, journal["names"])
    home.restoring.unlink()
    sync_folder(home.backup)
    shutil.rmtree(restored, ignore_errors=True)
    about: dict[str, str] = journal["about"]
    return about


def _put_log_aside(home: Home) -> None:
    """The gateway's log notes how far the audit log went. Held against an older audit log that would be a forgery."""
    log = home.logs / "serve.log"
    if log.exists():
        log.rename(log.with_name(f"serve-until-{now_us() // 1_000_000}.log"))


def _note(home: Home, journal: dict[str, Any]) -> None:
    write_atomic(home.restoring, json.dumps(journal).encode(), 0o600)


def _move_out(home: Home, aside: Path, but: set[str]) -> None:
    """Move all state aside. What is there under the same name already was made before this."""
    for path in sorted(home.state.iterdir()):
        if path.name in KEPT or path.name in but or path.name.startswith(ASIDE):
            continue
        place = aside / path.name
        while place.exists():
            place = place.with_name(f"{place.name}.later")
        path.rename(place)
    sync_folder(home.state)


def _move_in(home: Home, restored: Path, aside: Path, names: list[str]) -> None:
    """Move everything restored in, the database last: until it is there, nothing in its place is of any worth."""
    state = restored / STATE
    left = sorted((path for path in state.iterdir()), key=lambda path: (path.name == home.database.name, path.name))
    if left:
        # Another command may have made a database of its own since: with its log beside it, ours would be damaged.
        _move_out(home, aside, but=set(names) - {path.name for path in left})
    for path in left:
        path.rename(home.state / path.name)
    sync_folder(home.state)
    home.config.parent.mkdir(parents=True, exist_ok=True)
    for file in (home.config, home.local_models):
        found = restored / CONFIG / file.name
        if found.exists():
            write_atomic(file, found.read_bytes())
        else:
            file.unlink(missing_ok=True)
