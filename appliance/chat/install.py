"""Open WebUI in an environment of its own, made once from a lock file and kept in the cache folder by its content."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Final

from appliance.chat.changes import shorten
from appliance.downloads.packages import install_locked
from appliance.errors import ApplianceError
from appliance.store.locks import Lock
from appliance.units import GIB, show_bytes

# What is happening, and how far it is: done and in all (0 where there is no count).
Progress = Callable[[str, int, int], None]

# It runs on these and no others.
_FITS: Final = ((3, 11), (3, 12))
# With the downloads, until they are unpacked.
_ROOM: Final = 2 * GIB
_READY: Final = "ready"


def find(cache: Path) -> Path:
    """The Python of the installed chat page. Raises chat-page-missing."""
    python = _folder(cache) / "bin" / "python"
    if not (_folder(cache) / _READY).exists():
        raise _missing()
    return python


def _missing() -> ApplianceError:
    return ApplianceError(
        "chat-page-missing", "The chat page is switched on, but not installed.", "Run: appliance chat-page install"
    )


def frontend(python: Path) -> Path:
    """The folder of the pages and programs that browsers get, of the chat page whose Python this is.

    Raises chat-page-missing where a part of it is gone.
    """
    found = next((python.parent.parent / "lib").glob("python*/site-packages/open_webui/frontend"), None)
    if found is None:
        raise _missing()
    return found


def version() -> str:
    """The release of Open WebUI that is locked."""
    lines = _lock().splitlines()
    return next(line.split()[0].partition("==")[2] for line in lines if line.startswith("open-webui=="))


def install(cache: Path, progress: Progress) -> Path:
    """Install the chat page, or find that it is; returns its Python. Safe to run again after an interruption.

    Raises chat-page-impossible, installer-running, disk-too-small, registry-unreachable, wrong-hash or download-failed.
    """
    folder = _folder(cache)
    if (folder / _READY).exists():
        # One that an earlier release of ours made has the long list of changes.
        shorten(find(cache))
        return find(cache)
    cache.mkdir(parents=True, exist_ok=True)
    lock = Lock(cache / "openwebui.lock")
    if not lock.acquire():
        raise ApplianceError(
            "installer-running", "The chat page is being installed already.", "Wait for it to end, then run it again."
        )
    try:
        _make(folder, progress)
    finally:
        lock.release()
    return find(cache)


def _make(folder: Path, progress: Progress) -> None:
    python = _python()
    _check_room(folder.parent)
    # What an interrupted run left may be half a package.
    shutil.rmtree(folder, ignore_errors=True)
    done = subprocess.run([python, "-m", "venv", "--without-pip", str(folder)], capture_output=True, check=False)
    if done.returncode != 0:
        raise _impossible(f"{python} cannot make an environment")
    progress("Fetching and unpacking Open WebUI (0.3 GB, 1.2 GB unpacked)", 0, 0)
    install_locked(_lock(), folder / "bin" / "python")
    shorten(folder / "bin" / "python")
    (folder / _READY).touch()


def _python() -> str:
    """A Python that the chat page runs on: ours, or another of this machine. Raises chat-page-impossible."""
    if sys.version_info[:2] in _FITS:
        return sys.executable
    names = (f"python{major}.{minor}" for major, minor in reversed(_FITS))
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise _impossible(f"It runs on Python 3.11 and 3.12, and this is {sys.version_info[0]}.{sys.version_info[1]}")
    return found


def _impossible(why: str) -> ApplianceError:
    return ApplianceError(
        "chat-page-impossible",
        f"The chat page cannot be installed. {why}.",
        "Install Python 3.12 with its venv module, then run: appliance chat-page install",
    )


def _check_room(place: Path) -> None:
    free = shutil.disk_usage(place).free
    if free < _ROOM:
        raise ApplianceError(
            "disk-too-small",
            f"{place} has {show_bytes(free)} free, and {show_bytes(_ROOM)} are needed.",
            "Free some room and run it again.",
        )


def _folder(cache: Path) -> Path:
    # Not the whole version: a security update of the system's Python must not take the page away.
    about = f"{_lock()}{sys.version_info[0]}.{sys.version_info[1]}".encode()
    return cache / f"openwebui-{hashlib.sha256(about).hexdigest()[:12]}"


def _lock() -> str:
    return (resources.files("appliance.chat") / "openwebui.txt").read_text()
