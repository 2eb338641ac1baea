"""A consistent copy of all state in a folder, taken while everything runs."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from appliance.config.paths import Home
from appliance.config.version import VERSION
from appliance.errors import ApplianceError
from appliance.policy.backups import ASIDE, DATABASES, FIXED, HELD, KEPT, LEFT_OUT, PLAIN, About
from appliance.store.schema import HEAD, read_only
from appliance.supervise.held import held
from appliance.units import MIB, now_us, show_bytes, show_instant

ABOUT: Final = "about.json"
STATE: Final = "state"
CONFIG: Final = "config"
# What is still written to: files that arrive, and the journals of batches.
_GROWING: Final = (".", "batch_")
# The process that holds still, by its name in the list of processes.
_PAGE: Final = "chat-page"
# What must stay free, so that whoever is served can go on writing.
_ROOM: Final = 256 * MIB


def take(home: Home, into: Path, chat_page: int | None) -> About:
    """Copy all state into a folder, which is made anew. `chat_page` is the page's process, where it runs.

    What refers to something is taken before what it refers to: a file too many does no harm. Raises disk-too-small,
    disk-full, backup-failed or database-broken.
    """
    made_at = show_instant(now_us()) or ""
    shutil.rmtree(into, ignore_errors=True)
    _check_room(home, into.parent)
    state = into / STATE
    try:
        for folder in (into, state, into / CONFIG, *(state / name for name in _folders(home))):
            folder.mkdir(mode=0o700)
        for name in PLAIN:
            _copy(home.state / name, state / name)
        rows = {
            name: _copy_database(home.state / name, state / name) for name in DATABASES if (home.state / name).exists()
        }
        with _held(home, chat_page):
            for name in HELD:
                _copy_held(home.state / name, state / name)
        for name in FIXED:
            _link(home.state / name, state / name)
        for name in LEFT_OUT:
            (state / name).unlink(missing_ok=True)
        for file in (home.config, home.local_models):
            _copy(file, into / CONFIG / file.name)
        about = About(made_at, VERSION, HEAD, rows)
        (into / ABOUT).write_text(json.dumps(about.to_json(), indent=2))
    except OSError as error:
        raise _not_copied(into, error) from error
    return about


def _not_copied(into: Path, error: OSError) -> ApplianceError:
    if error.errno == errno.ENOSPC:
        return ApplianceError(
            "disk-full", f"There is no room for a copy in {into}.", "Free some room and run it again."
        )
    return ApplianceError(
        "backup-failed", f"The state could not be copied: {error}.", "Mend what it says, then run it again."
    )


def _folders(home: Home) -> list[str]:
    """The folders that something lies deeper in."""
    deep = {str(Path(name).parent) for name in (*DATABASES, *FIXED, *HELD, *PLAIN)} - {"."}
    return sorted(name for name in deep if (home.state / name).is_dir())


def _check_room(home: Home, place: Path) -> None:
    """Copies need as much room as what is copied: the files that are linked need none. Raises disk-too-small."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    needed = _ROOM + sum(size_of(home.state / name) for name in (*DATABASES, *HELD, *PLAIN))
    free = shutil.disk_usage(place).free
    if free < needed:
        raise ApplianceError(
            "disk-too-small",
            f"{place} has {show_bytes(free)} free, and {show_bytes(needed)} are needed for a copy.",
            "Free some room and run it again.",
        )


def size_of(path: Path, but: tuple[str, ...] = ()) -> int:
    """Bytes of a file or of all files in a folder, without some of those right in it."""
    if but:
        return sum(size_of(one) for one in path.iterdir() if one.name not in but)
    if path.is_dir():
        return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.exists() else 0


def _copy_database(source: Path, target: Path) -> dict[str, int]:
    """A copy of a database as it is at one instant; nobody waits for it. Returns its tables' rows."""
    try:
        with closing(read_only(source)) as connection:
            # The copy is read again at once and then removed: having it on the disk would hold up whoever commits.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("VACUUM INTO ?", (str(target),))
        target.chmod(0o600)
        return count_rows(target)
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
            raise OSError(errno.ENOSPC, "no room", str(target)) from error
        raise ApplianceError(
            "database-broken", f"The database {source} cannot be copied: {error}.", "Restore the last backup."
        ) from error


def count_rows(file: Path) -> dict[str, int]:
    """How many rows each table of a database has. Raises sqlite3.Error."""
    with closing(read_only(file)) as connection:
        names = [str(name) for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for name in sorted(names)
            if not name.startswith("sqlite_")
        }


@contextmanager
def _held(home: Home, process: int | None) -> Iterator[None]:
    """Have the chat page and its children hold still."""
    if process is None:
        yield
        return
    with held(home.run, _PAGE):
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGCONT)


def _copy_held(source: Path, target: Path) -> None:
    """A folder whose one writer holds still. Its SQLite files come with whatever they keep beside them."""
    if source.is_dir():
        shutil.copytree(source, target)


def _copy(source: Path, target: Path) -> None:
    """A file or a folder, where it is there. What its owner replaces meanwhile is either the old one or the new one."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=_copy_file)
    elif source.exists():
        _copy_file(source, target)


def _copy_file(source: str | Path, target: str | Path) -> None:
    # What its owner has removed meanwhile is not missed.
    with suppress(FileNotFoundError):
        shutil.copy2(source, target)


def _link(source: Path, target: Path) -> None:
    """A second name for each file of a folder: no byte is copied. What is being written is left out."""
    if not source.is_dir():
        return
    target.mkdir(mode=0o700)
    for folder, folders, files in os.walk(source):
        here = target / Path(folder).relative_to(source)
        for name in folders:
            (here / name).mkdir(mode=0o700)
        for name in files:
            if not name.startswith("."):
                _link_file(Path(folder) / name, here / name)


def _link_file(source: Path, target: Path) -> None:
    # Its owner may just have deleted it.
    with suppress(FileNotFoundError):
        os.link(source, target)


def take_whole(home: Home, into: Path) -> None:
    """Copy all state and the settings into a folder, which is made anew, while the box is down; have it on the disk.

    Unlike a backup it has everything, also what can be made anew, so that going back to it leaves no trace.
    Raises disk-too-small, disk-full, backup-failed or database-broken.
    """
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(mode=0o700, parents=True)
    _check_room(home, into)
    state = into / STATE
    try:
        state.mkdir(mode=0o700)
        (into / CONFIG).mkdir(mode=0o700)
        for path in sorted(home.state.iterdir()):
            if path.name not in KEPT and not path.name.startswith(ASIDE):
                _copy_whole(home, path, state / path.name)
        for file in (home.config, home.local_models):
            _copy(file, into / CONFIG / file.name)
    except OSError as error:
        raise _not_copied(into, error) from error
    _sync(into)


def _sync(folder: Path) -> None:
    """Have all files and folders on the disk; those with a second name are there already."""
    for place, _, names in os.walk(folder):
        for name in (*names, ""):
            path = Path(place) / name
            if not path.is_symlink() and (not name or path.stat().st_nlink == 1):
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


def _copy_whole(home: Home, path: Path, target: Path) -> None:
    """A file or a folder of the state: databases as of one instant, what never changes by a second name."""
    name = path.relative_to(home.state).as_posix()
    if path.is_dir() and not path.is_symlink():
        target.mkdir(mode=0o700)
        shutil.copystat(path, target)
        for one in sorted(path.iterdir()):
            _copy_whole(home, one, target / one.name)
    elif name in DATABASES:
        _copy_database(path, target)
    elif name.removesuffix("-wal").removesuffix("-shm") in DATABASES:
        # What is in these is in the copy of the database.
        return
    elif name.startswith(tuple(f"{one}/" for one in FIXED)) and not path.name.startswith(_GROWING):
        os.link(path, target)
    elif path.is_file():
        shutil.copy2(path, target, follow_symlinks=False)
