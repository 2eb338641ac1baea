"""Where a model comes from: a catalogue row's `source` as a value. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.downloads.hub import HubFile
from appliance.downloads.web import Remote, is_loopback, origin
from appliance.errors import ApplianceError

_HUB = re.compile(r"(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]*))?/(?P<file>.+)")


@dataclass(frozen=True, slots=True)
class Package:
    """A file inside a package of the Python registry: `name==version`."""

    requirement: str


@dataclass(frozen=True, slots=True)
class Local:
    """A file, or a folder that holds it: a USB stick, a share."""

    path: Path


Source = HubFile | Remote | Local | Package


def parse(source: str) -> Source:
    """Read a row's `source`. Raises source-not-allowed.

    `hf:OWNER/REPO@REVISION/FILE`, `https://...` (`http://` from this machine only), `file:/path`,
    `pypi:NAME==VERSION`.
    """
    kind, _, rest = source.partition(":")
    match = _HUB.fullmatch(rest)
    if kind == "pypi" and rest:
        return Package(rest)
    if kind == "file" and rest.startswith("/"):
        return Local(Path(rest.removeprefix("//")))
    if kind == "hf" and match:
        return HubFile(match["repo"], match["revision"] or "", match["file"])
    scheme, host, _ = origin(source)
    if host and (scheme == "https" or (scheme == "http" and is_loopback(host))):
        return Remote(source)
    raise ApplianceError(
        "source-not-allowed",
        f"Nothing is fetched from '{source}'.",
        "Use hf:OWNER/REPO@REVISION/FILE, https://..., file:/path or pypi:NAME==VERSION.",
    )
