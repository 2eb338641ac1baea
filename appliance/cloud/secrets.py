"""A provider's key: read from a file that nobody else can read, or from a credential of systemd's."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from appliance.config.paths import credentials_folder
from appliance.errors import ApplianceError
from appliance.store.files import write_atomic

_LONGEST: Final = 4096
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class UnusableKeyError(Exception):
    """A key that must not or cannot be used. Its text says why, and holds neither the key nor anything of the file."""


def read_key(file: Path) -> str | None:
    """The key in a file; None when there is no such file. Raises UnusableKeyError."""
    found = _content(file)
    return None if found is None else checked_key(found)


def read_secret(file: Path) -> str | None:
    """The password in a file: its whole first line; None when there is no such file. Raises UnusableKeyError."""
    found = _content(file)
    if found is None:
        return None
    try:
        text = found.decode().partition("\n")[0].removesuffix("\r")
    except UnicodeDecodeError:
        raise UnusableKeyError("it is not UTF-8") from None
    if not text or len(found) > _LONGEST:
        raise UnusableKeyError("it is empty" if not text else "it is far too long for a password")
    return text


def _content(file: Path) -> bytes | None:
    """What is in a file that is ours and for us alone; what lies in systemd's folder of credentials, systemd guards."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnusableKeyError(f"its file cannot be read: {error.strerror}") from None
    try:
        # Asked of what was opened: a name could mean another file by now.
        _check(os.fstat(handle), guarded=file.parent == credentials_folder())
        return os.read(handle, _LONGEST + 1)
    except OSError as error:
        raise UnusableKeyError(f"its file cannot be read: {error.strerror}") from None
    finally:
        os.close(handle)


def checked_key(found: bytes) -> str:
    """The one word of plain characters that a key is. Raises UnusableKeyError."""
    key = found.strip()
    if not key:
        raise UnusableKeyError("it is empty")
    if len(key) > _LONGEST:
        raise UnusableKeyError("it is far too long for a key")
    if not all(0x21 <= byte <= 0x7E for byte in key):
        raise UnusableKeyError("it is more than one word of plain characters")
    return key.decode("ascii")


def write_key(folder: Path, provider: str, key: str) -> Path:
    """Keep a provider's key; returns its file, which only its owner can read."""
    file = folder / provider
    write_atomic(file, key.encode("ascii") + b"\n", 0o600)
    return file


def key_file(folder: Path, provider: str, named: str | None, credential: str | None) -> Path:
    """Where a provider's key is: the file or credential that the settings name, else the one that we keep."""
    given = credentials_folder()
    if named is not None:
        return Path(named)
    if credential is not None:
        # Without systemd's folder the file is nowhere, and whoever looks for the key is told so.
        return (given or folder / "no-credentials") / credential
    if given is not None and (given / provider).exists():
        return given / provider
    return folder / provider


def missing(provider: str, why: str) -> ApplianceError:
    """The error for a key that is not there or unusable; `why` goes on after 'The key for the provider ...'."""
    return ApplianceError(
        "cloud-key-missing",
        f"The key for the provider '{provider}' cannot be used: {why}.",
        f"Your admin gives it with `appliance cloud key {provider}`; `appliance cloud status` shows its state.",
    )


def _check(found: os.stat_result, *, guarded: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UnusableKeyError("it is no plain file")
    if guarded:
        return
    if found.st_uid != os.geteuid():
        raise UnusableKeyError("its file belongs to somebody else")
    if found.st_mode & _OTHERS:
        raise UnusableKeyError("others can read its file; run `chmod 600` on it")
