"""Whether what the box trusts itself by can be used."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.accounts import chat_secrets
from appliance.doctor.check import SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation
from appliance.errors import ApplianceError
from appliance.identity import keys


def look(situation: Situation) -> Iterator[Finding]:
    """Files of secrets that are there and cannot be used."""
    home = situation.home
    try:
        keys.check(home)
    except ApplianceError as error:
        yield Finding("secret-unusable", error.sentence, "signing-keys", error.hint)
    try:
        chat_secrets.read(home)
    except ApplianceError as error:
        yield Finding("secret-unusable", error.sentence, "chat-page", error.hint)


CHECK = Check("secrets", "The box's own secrets can be used.", look, needs=frozenset({SETTINGS}))
