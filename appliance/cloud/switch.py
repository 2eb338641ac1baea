"""The switch that stops everything towards the cloud: a file, so that it works whatever else does not."""

from __future__ import annotations

import os
from pathlib import Path

from appliance.store.files import sync_folder


def is_off(switch: str | Path) -> bool:
    """Whether nothing may be sent. What cannot be looked at counts as off."""
    try:
        os.lstat(switch)  # a link to nowhere is an admin's word too
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def turn_off(switch: Path) -> bool:
    """Stop everything, and keep it so through a power cut; False when it was off already."""
    was_off = is_off(switch)
    switch.touch(mode=0o600)
    sync_folder(switch.parent)
    return not was_off


def turn_on(switch: Path) -> bool:
    """Take the stop away; False when there was none."""
    was_off = is_off(switch)
    switch.unlink(missing_ok=True)
    sync_folder(switch.parent)
    return was_off
