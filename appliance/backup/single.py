"""A backup as one file, for the safe: a whole repository in a ZIP file, as encrypted as it is elsewhere.

Its entries are those of a folder that restic knows, so `unzip` and `restic` are all that reading it ever takes.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.store.files import replacing


def pack(folder: Path, file: Path) -> int:
    """Make the file from a repository's folder, whole or not at all; its bytes. Raises OSError."""
    # What is encrypted does not get smaller.
    with replacing(file, 0o600) as opened, zipfile.ZipFile(opened, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder))
    return file.stat().st_size


def unpack(file: Path, folder: Path) -> None:
    """The reverse of `pack`. Raises backup-damaged, or OSError."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        # It puts nothing outside of the folder, and checks the sum of each entry.
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise ApplianceError(
            "backup-damaged", f"{file} is no backup, or is damaged: {error}.", "Use another copy of it."
        ) from error
