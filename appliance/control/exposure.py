"""Who may be let in from the network at all: only with encryption, and once somebody owns the box (pure)."""

from __future__ import annotations

from appliance.config.addresses import is_loopback
from appliance.config.settings import Settings
from appliance.errors import ApplianceError


def check(settings: Settings) -> None:
    """Raises lan-insecure where something would listen to other machines without encryption."""
    gateway = settings.gateway
    if not is_loopback(gateway.host) and not gateway.insecure_lan:
        raise ApplianceError(
            "lan-insecure",
            f"gateway.host is {gateway.host}: other machines could come, and keys and prompts be read on the way.",
            "Delete that line and set `enabled = true` under [lan] for HTTPS; or, behind a proxy of your own, "
            "set `insecure_lan = true` under [gateway].",
        )


def check_owner(settings: Settings, owners: int) -> None:
    """Raises lan-needs-owner where others could come and nobody who can sign in owns the box."""
    if settings.lan.enabled and not owners:
        raise ApplianceError(
            "lan-needs-owner",
            "The box is to be on the network, and nobody who can sign in owns it.",
            "Set `enabled = false` under [lan], run `appliance up` and `appliance users owner-link`, and open that "
            "link; or: appliance users add YOUR@ADDRESS --role owner --password-stdin",
        )
