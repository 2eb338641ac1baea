"""A release fetched from a folder or an HTTPS address into a folder of our own, where nobody changes it any more."""

from __future__ import annotations

import http.client
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from appliance.downloads.web import Line, Remote, is_loopback, origin
from appliance.errors import ApplianceError
from appliance.units import MIB
from appliance.update.manifest import LARGEST, MANIFEST, SIGNATURES, Manifest, damaged

_TIMEOUT_S: Final = 60.0
_PIECE: Final = MIB


class Source(Protocol):
    """Where a release is."""

    def document(self, name: str) -> bytes:
        """One of the two documents. Raises update-unreachable."""

    def fetch(self, path: str, most: int, into: Path) -> None:
        """Copy a file, and no more than `most` bytes and one. Raises update-unreachable or update-damaged."""


def source_of(place: str) -> Source:
    """A folder, or an address. Raises wrong-use."""
    if "://" not in place:
        return Folder(Path(place))
    scheme, host, _ = origin(place)
    if scheme != "https" and not (scheme == "http" and is_loopback(host)):
        raise ApplianceError("wrong-use", f"{place} is not encrypted.", "Name a folder, or an address with https://")
    return Address(place.rstrip("/"))


class Folder:
    """A folder of this machine, as on a USB stick."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def document(self, name: str) -> bytes:
        with self._opened(name) as file:
            return file.read(LARGEST + 1)

    def fetch(self, path: str, most: int, into: Path) -> None:
        with self._opened(path) as file, into.open("xb") as target:
            _copy(file, target, most)

    def unlisted(self, manifest: Manifest) -> None:
        """Whether there is something besides what is listed. Raises update-damaged."""
        listed = {one.path for one in manifest.files} | {MANIFEST, SIGNATURES}
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if name not in listed and (path.is_symlink() or not path.is_dir()):
                raise damaged(f"{name[:200]} is not on its list")

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        try:
            # What is read is in the folder itself: no link leads out of it.
            handle = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            if name in (MANIFEST, SIGNATURES):
                raise _unreachable(str(self._folder), f"there is no {name}") from error
            raise damaged(f"{name} is missing") from error
        except OSError as error:
            raise _unreachable(str(self._folder), error.strerror or str(error)) from error
        with os.fdopen(handle, "rb") as file:
            yield file


class Address:
    """An HTTPS address that the files lie below."""

    def __init__(self, url: str) -> None:
        self._url = url

    def document(self, name: str) -> bytes:
        with self._asked(name) as response:
            said: bytes = response.read(LARGEST + 1)
            return said

    def fetch(self, path: str, most: int, into: Path) -> None:
        with self._asked(path) as response, into.open("xb") as target:
            _copy(response, target, most)

    @contextmanager
    def _asked(self, name: str) -> Iterator[Any]:
        line = Line(_TIMEOUT_S)
        try:
            response, _ = line.get(Remote(f"{self._url}/{name}"), {})
            with response:
                if response.status != 200:
                    raise _unreachable(self._url, f"it answers {response.status} for {name}")
                yield response
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._url, str(error) or type(error).__name__) from error
        finally:
            line.close()


def bring(source: Source, manifest: Manifest, documents: dict[str, bytes], into: Path) -> None:
    """Copy a release whose signatures were checked. What arrives is still to be compared.

    Raises update-unreachable or update-damaged.
    """
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(mode=0o700, parents=True)
    if isinstance(source, Folder):
        source.unlisted(manifest)
    for one in manifest.files:
        target = into / one.path
        target.parent.mkdir(parents=True, exist_ok=True)
        source.fetch(one.path, one.size, target)
    for name, data in documents.items():
        (into / name).write_bytes(data)


def _copy(source: Any, target: IO[bytes], most: int) -> None:
    # One byte more than listed is enough to be found out.
    left = most + 1
    while left > 0:
        piece = source.read(min(_PIECE, left))
        if not piece:
            return
        target.write(piece)
        left -= len(piece)


def _unreachable(place: str, why: str) -> ApplianceError:
    return ApplianceError(
        "update-unreachable", f"No release can be had from {place}: {why}.", "See that it is right, then run it again."
    )
