"""A release made: its files listed, and the list signed, by each keeper of a key on a machine of their own."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.errors import ApplianceError
from appliance.store.files import write_atomic
from appliance.update.manifest import MANIFEST, SIGNATURES, Listed, Manifest, damaged, read


def new_key(file: Path) -> str:
    """Make a key to sign with, in a file that only this user reads; returns its public half. Raises wrong-use."""
    key = Ed25519PrivateKey.generate()
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ApplianceError(
            "wrong-use", f"{file} cannot be made: {error.strerror}.", "Name a file that is not there yet."
        ) from error
    with os.fdopen(handle, "w") as opened:
        opened.write(f"{key.private_bytes_raw().hex()}\n")
    return key.public_key().public_bytes_raw().hex()


def make(folder: Path, version: str, serial: int, expires: int, from_min: str) -> Manifest:
    """List the files of a folder as a release; signatures of an earlier list are removed. Raises update-refused."""
    (folder / SIGNATURES).unlink(missing_ok=True)
    files = tuple(files_of(folder).values())
    made = Manifest(version, serial, expires, from_min, files)
    document = made.to_json()
    read(document)
    write_atomic(folder / MANIFEST, document)
    return made


def sign(folder: Path, key_file: Path) -> str:
    """Add a signature to a release; returns the public key that it is by. Raises wrong-use."""
    try:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key_file.read_text().strip()))
        document = (folder / MANIFEST).read_bytes()
    except (OSError, ValueError) as error:
        raise ApplianceError(
            "wrong-use", f"It cannot be signed: {error}.", "Make the list first: appliance update make FOLDER"
        ) from error
    public = key.public_key().public_bytes_raw().hex()
    file = folder / SIGNATURES
    said = json.loads(file.read_bytes())["signatures"] if file.exists() else []
    others = [one for one in said if one["key"] != public]
    signed = [*others, {"key": public, "signature": key.sign(document).hex()}]
    write_atomic(file, json.dumps({"signatures": signed}, indent=1).encode() + b"\n")
    return public


def files_of(folder: Path) -> dict[str, Listed]:
    """All files of a release's folder but the two documents, by path. Raises update-damaged for what is no file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise damaged(f"{name} is no plain file")
        if path.is_file() and name not in (MANIFEST, SIGNATURES):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found[name] = Listed(name, path.stat().st_size, digest)
    return found
