"""What a release says of itself, who signed that, and whether it may be installed here: as values (pure)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.errors import ApplianceError
from appliance.units import show_instant

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SIGNATURES: Final = "signatures.json"
# What neither of the two documents is ever larger than, in bytes.
LARGEST: Final = 4 * 2**20
_VERSION: Final = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})")
# Names that mean the same to every file system and shell, and lead nowhere else.
_PATH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+!-]*(/[A-Za-z0-9_][A-Za-z0-9._+!-]*){0,3}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """A file of a release: its path below the release's folder, its size in bytes, its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """A release. `serial` grows with each; `expires` in microseconds since 1970; `from_min` is the oldest version
    that can be updated to it."""

    version: str
    serial: int
    expires: int
    from_min: str
    files: tuple[Listed, ...]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(one.size for one in self.files)

    def to_json(self) -> bytes:
        """The document that is signed."""
        said = {"format": FORMAT, **asdict(self)}
        return json.dumps(said, indent=1, sort_keys=True).encode() + b"\n"


def read(document: bytes) -> Manifest:
    """The reverse of `Manifest.to_json`. Raises update-refused. Its signatures are to be checked first."""
    try:
        said = json.loads(document)
        if said["format"] != FORMAT:
            raise _refused("its form is newer than this version knows", "Update to a version between the two first.")
        files = tuple(_listed(one) for one in said["files"])
        found = Manifest(said["version"], said["serial"], said["expires"], said["from_min"], files)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _malformed(str(error)) from error
    numbers = (found.serial, found.expires)
    if not all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in numbers):
        raise _malformed("serial and expiry are whole numbers")
    parse_version(found.version), parse_version(found.from_min)
    paths = [one.path for one in files]
    if len(set(paths)) != len(paths):
        raise _malformed("a file is listed twice")
    return found


def parse_version(text: Any) -> Version:
    """A version as numbers that can be compared. Raises update-refused."""
    if not isinstance(text, str) or not _VERSION.fullmatch(text):
        raise _malformed(f"{str(text)[:40]!r} is no version")
    return tuple(int(one) for one in text.split("."))


def check_signatures(document: bytes, signatures: bytes, trusted: Sequence[str], needed: int) -> list[str]:
    """The trusted keys that have signed a document, exactly as it is. Raises update-not-signed where they are too few.

    Keys are 64 hexadecimal digits. Two signatures by one key count once.
    """
    if len(set(trusted)) < needed:
        raise ApplianceError(
            "update-no-keys",
            f"{needed} signatures are needed, and {len(set(trusted))} keys are trusted here.",
            "Put the public keys of whoever makes the releases into the settings: docs/updates.md",
        )
    try:
        said = json.loads(signatures)["signatures"]
        pairs = [(str(one["key"]), bytes.fromhex(one["signature"])) for one in said]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise _unsigned(f"its signatures cannot be read: {error}") from error
    good = {key for key, signature in pairs if key in set(trusted) and _is_by(key, signature, document)}
    if len(good) < needed:
        raise _unsigned(f"{len(good)} of the keys that are trusted here have signed it, and {needed} must")
    return sorted(good)


def judge(manifest: Manifest, now: int, version: str, serial: int) -> None:
    """Whether a release may follow what is installed: its `version`, and the highest `serial` there ever was.

    Raises update-refused.
    """
    if manifest.serial < serial:
        raise _refused(
            f"it is older (serial {manifest.serial}) than one that was installed here before (serial {serial})",
            "Get a newer one. To go back to what was before: appliance update rollback",
        )
    if manifest.expires <= now:
        raise _refused(f"it was to be installed before {show_instant(manifest.expires)}", "Get a newer one.")
    if parse_version(version) < parse_version(manifest.from_min):
        raise _refused(
            f"it needs version {manifest.from_min} or newer, and {version} is installed",
            f"Update to version {manifest.from_min} first.",
        )


def compare(manifest: Manifest, found: Mapping[str, Listed]) -> None:
    """Whether the files are those that are listed, all of them and no other. Raises update-damaged."""
    listed = {one.path: one for one in manifest.files}
    for path, one in listed.items():
        if path not in found:
            raise damaged(f"{path} is missing")
        if found[path] != one:
            raise damaged(f"{path} is not the file that was signed")
    for path in found:
        if path not in listed:
            raise damaged(f"{path[:200]} is not on its list")


def damaged(why: str) -> ApplianceError:
    """A release whose files are not what was signed."""
    return ApplianceError(
        "update-damaged", f"The release cannot be used: {why}.", "Nothing was changed. Get the release once more."
    )


def _listed(said: Any) -> Listed:
    one = Listed(said["path"], said["size"], said["sha256"])
    if not isinstance(one.path, str) or not _PATH.fullmatch(one.path) or one.path in (MANIFEST, SIGNATURES):
        raise ValueError(f"{str(one.path)[:100]!r} is no path of a file in a release")
    if not isinstance(one.size, int) or isinstance(one.size, bool) or one.size < 0:
        raise ValueError(f"{one.path} has no size")
    if not isinstance(one.sha256, str) or not _SHA256.fullmatch(one.sha256):
        raise ValueError(f"{one.path} has no SHA-256")
    return one


def _is_by(key: str, signature: bytes, document: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, document)
    except (InvalidSignature, ValueError):
        return False
    return True


def _refused(why: str, hint: str) -> ApplianceError:
    return ApplianceError("update-refused", f"The release may not be installed here: {why}.", hint)


def _malformed(why: str) -> ApplianceError:
    return _refused(f"its {MANIFEST} is not right ({why})", "Ask whoever made it.")


def _unsigned(why: str) -> ApplianceError:
    return ApplianceError(
        "update-not-signed",
        f"The release is not to be trusted: {why}.",
        "Nothing was changed. Get the release from where you always do.",
    )
