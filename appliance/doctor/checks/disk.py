"""Room on the disk with the state folder: bytes, files, and for how many days it lasts at the present pace."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from appliance.doctor.check import Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import CURRENT, Situation
from appliance.store import schema
from appliance.units import GIB, MIB, show_bytes

# Below this nothing of any size can be written any more; a copy for a backup asks for as much beside itself.
FULL: Final = 256 * MIB
LOW: Final = 5 * GIB
_LOW_SHARE: Final = 0.02
_FILES_SHARE: Final = 0.05
DAYS: Final = 28
SOON_DAYS: Final = 30
_DAY_US: Final = 86_400_000_000
_CALLS: Final = "SELECT count(*), sum(started_at >= ?), min(started_at) FROM call"


def look(situation: Situation) -> Iterator[Finding]:
    """What is short, if anything is."""
    place = next(path for path in [situation.home.state, *situation.home.state.parents] if path.exists())
    now = os.statvfs(place)
    free, total = now.f_bavail * now.f_frsize, now.f_blocks * now.f_frsize
    yield from judge(free, total, grown(situation) if situation.database == CURRENT else None)
    if now.f_files and now.f_favail < _FILES_SHARE * now.f_files:
        yield Finding("files-low", f"The disk can take {now.f_favail} more files, of {now.f_files} in all.")


def judge(free: int, total: int, growth: int | None) -> Iterator[Finding]:
    """What so many bytes mean; `growth` is in bytes a day, None where it is not known."""
    facts = {"free": free, "total": total}
    words = f"{show_bytes(free)} of {show_bytes(total)} are free on the disk with the state folder."
    if free < FULL:
        yield Finding("disk-full", words, facts=facts)
    elif free < LOW or free < _LOW_SHARE * total:
        yield Finding("disk-low", words, facts=facts)
    elif growth and free - FULL < SOON_DAYS * growth:
        days = (free - FULL) // growth
        more = (
            f"{words} At the pace of the last {DAYS} days, {show_bytes(growth)} a day, that is enough for {days} days."
        )
        yield Finding("disk-soon", more, facts={**facts, "growth": growth, "days": days})


def grown(situation: Situation) -> int | None:
    """Bytes a day that books, uploaded files and documents have taken lately; None where too little is known.

    The books by their share of calls of the last days, files by when they were written. What is not older than that
    tells no pace.
    """
    since = situation.now - DAYS * _DAY_US
    home = situation.home
    try:
        with closing(schema.read_only(home.database)) as connection:
            row = connection.execute(_CALLS, (since,)).fetchone()
    except sqlite3.Error:
        return None
    calls, late, first = (int(one or 0) for one in row)
    if not calls or first > since:
        return None
    books = home.database.stat().st_size * late // calls
    return (books + sum(written(folder, since) for folder in (home.files, home.chat / "uploads"))) // DAYS


def written(folder: Path, since: int) -> int:
    """Bytes of the files below a folder that were written since an instant."""
    found = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            try:
                about = (Path(inner) / name).lstat()
            except FileNotFoundError:
                continue
            found += about.st_size if about.st_mtime_ns // 1000 >= since else 0
    return found


CHECK = Check("disk", "The disk has room.", look)
