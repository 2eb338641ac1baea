"""Root works as whoever owns the state, and is root again only for what nobody else may do."""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path

_PR_SET_DUMPABLE = 4


def step_down(state: Path) -> str | None:
    """Become the owner of a state folder if we are root and they are not; their home, or None if nothing changed.

    All that is written is then theirs, and programs that are started have no way back. We have: see `as_root`.
    """
    if os.geteuid() != 0:
        return None
    try:
        owner = state.stat().st_uid
        person = pwd.getpwuid(owner)
    except (OSError, KeyError):
        return None
    if owner == 0:
        return None
    os.initgroups(person.pw_name, person.pw_gid)
    os.setresgid(person.pw_gid, person.pw_gid, person.pw_gid)
    os.setresuid(owner, owner, 0)
    # Else the kernel keeps /proc/self for root.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)
    return person.pw_dir


def may_be_root() -> bool:
    """Whether this process is root, or can be again."""
    return 0 in os.getresuid()


def as_root() -> None:
    """In a child, before it runs a program: be root again, where that is allowed."""
    if may_be_root():
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
