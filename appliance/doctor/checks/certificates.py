"""The box's own certificates: the authority that devices trust, and what Caddy shows to browsers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from appliance.doctor.check import SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation
from appliance.errors import ApplianceError
from appliance.lan import authority

# To trust another one is work on every device, which takes planning.
EARLY: Final = timedelta(days=180)


def look(situation: Situation) -> Iterator[Finding]:
    """What has ended or will."""
    lan = situation.told.lan
    if not lan.enabled or not authority.files(situation.home, lan.host)[0].exists():
        return
    now = datetime.fromtimestamp(situation.now / 1e6, UTC)
    try:
        mine = authority.whole(situation.home, lan.host)
    except ApplianceError as error:
        yield Finding("certificate-unreadable", error.sentence, lan.host, error.hint)
        return
    folder, day = authority.folder(situation.home, lan.host), f"{mine.until:%d %B %Y}"
    if mine.until <= now:
        yield Finding("certificate-ended", f"The certificate that devices trust ended on {day} ({folder}).", lan.host)
    elif mine.until - now < EARLY:
        days = (mine.until - now).days
        words = f"The certificate that devices trust ends on {day}, in {days} days ({folder})."
        yield Finding("certificate-ends-soon", words, lan.host, facts={"days": days})
    # Caddy makes a new one hours before the old one ends, while it runs.
    if situation.supervisor:
        for file in sorted((folder / "caddy" / "certificates").rglob("*.crt")):
            until = x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
            if until <= now:
                yield Finding(
                    "certificate-not-renewed",
                    f"What browsers are shown ended at {until:%Y-%m-%d %H:%M} UTC.",
                    file.name,
                )


CHECK = Check("certificates", "Certificates are good for a while.", look, needs=frozenset({SETTINGS}))
