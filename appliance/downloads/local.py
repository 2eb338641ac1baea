"""Take a file from a folder of this machine: a USB stick, a share."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from appliance.downloads.pieces import Fetched, Progress, on_disk
from appliance.errors import ApplianceError
from appliance.units import MIB

_BUFFER = MIB


def find(path: Path, size: int) -> Path:
    """The file itself, or the only one of `size` bytes (0: any model file) in a folder. Raises source-refused."""
    try:
        if path.is_file():
            return path
        files = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else []
        fitting = [file for file in files if (file.stat().st_size == size if size else file.suffix == ".gguf")]
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        wanted = f"no file of {size} bytes" if size else "no .gguf file"
        raise ApplianceError(
            "source-refused", f"There is {wanted} at {path}.", "Plug it in or mount it, and try again."
        )
    raise ApplianceError(
        "source-refused",
        f"{path} holds several files that may be it: {', '.join(file.name for file in fitting)}.",
        "Name the file itself.",
    )


def copy(source: Path, target: Path, told: Progress) -> Fetched:
    """Copy a file, hashing on the way; synced. Raises source-unreachable, disk-too-small or download-failed."""
    digest, done = hashlib.sha256(), 0
    buffer = memoryview(bytearray(_BUFFER))
    try:
        with source.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            with on_disk(target):
                copied = target.open("wb", buffering=0)
            with copied:
                while count := file.readinto(buffer):
                    digest.update(buffer[:count])
                    with on_disk(target):
                        copied.write(buffer[:count])
                    done += count
                    told(done, size)
                with on_disk(target):
                    os.fsync(copied.fileno())
    except OSError as error:
        raise _unreadable(source, error) from error
    return Fetched(done, digest.hexdigest())


def _unreadable(path: Path, error: OSError) -> ApplianceError:
    return ApplianceError(
        "source-unreachable", f"{path} cannot be read: {error.strerror or error}.", "Look at the medium and its rights."
    )
