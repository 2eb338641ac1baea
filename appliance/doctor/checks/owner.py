"""Whether somebody owns the box who can sign in."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.control.status import owned
from appliance.doctor.check import DATABASE, SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation


def look(situation: Situation) -> Iterator[Finding]:
    """Whether there is an owner, where people sign in at all."""
    if owned(situation.home, situation.told) is False:
        yield Finding("owner-missing", "Nobody who can sign in owns the appliance.")


CHECK = Check("owner", "Somebody owns the box.", look, needs=frozenset({SETTINGS, DATABASE}))
