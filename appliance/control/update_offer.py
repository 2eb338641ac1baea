"""A release that is offered: what it says of itself, once it is known to be signed and fit for this appliance."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.config.version import VERSION
from appliance.errors import ApplianceError
from appliance.units import now_us
from appliance.update import incoming, journal, manifest, signing
from appliance.update.manifest import MANIFEST, SIGNATURES, Listed, Manifest


@dataclass(frozen=True, slots=True)
class Offer:
    """A release whose signatures are good. `release` is the name of the folder that it gets."""

    source: incoming.Source
    manifest: Manifest
    documents: dict[str, bytes] = field(repr=False)
    signed_by: list[str] = field(default_factory=list)

    @property
    def release(self) -> str:
        digest = hashlib.sha256(self.documents[MANIFEST]).hexdigest()[:12]
        return f"{self.manifest.version}-{digest}"

    def files_in(self, folder: Path) -> dict[str, Listed]:
        """What has arrived in a folder."""
        return signing.files_of(folder)


def look(home: Home, settings: Settings, place: str | None) -> Offer:
    """The release in a place, or where the settings say.

    Raises wrong-use, update-unreachable, update-no-keys, update-not-signed or update-refused.
    """
    wish = settings.update
    named = place or wish.source
    if named is None:
        raise ApplianceError(
            "wrong-use",
            "Nobody has said where releases come from.",
            "Name a folder or an address, or set `from` under [update] in the settings: docs/updates.md",
        )
    source = incoming.source_of(named)
    documents = {name: source.document(name) for name in (MANIFEST, SIGNATURES)}
    signed = manifest.check_signatures(documents[MANIFEST], documents[SIGNATURES], wish.keys, wish.signatures)
    found = manifest.read(documents[MANIFEST])
    manifest.judge(found, now_us(), VERSION, journal.highest_serial(home))
    return Offer(source, found, documents, signed)
