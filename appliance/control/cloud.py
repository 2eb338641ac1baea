"""Models of the cloud, as the admin sees them: what the settings make of them, the switch, the keys, the state."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.cloud import secrets, switch
from appliance.config.paths import Home
from appliance.config.settings import CloudSettings
from appliance.deployment import CloudTerms, Engine
from appliance.errors import ApplianceError
from appliance.units import parse_money

if TYPE_CHECKING:
    from sqlmodel import Session


def cloud_terms(home: Home, settings: CloudSettings) -> CloudTerms | None:
    """On which terms requests may leave the box; None where they may not."""
    if not settings.enabled or settings.monthly_cap is None:
        return None
    return CloudTerms(
        teams=tuple(settings.teams),
        local_only=tuple(settings.local_only),
        monthly_cap=parse_money(settings.monthly_cap),
        silence_s=settings.silence_s,
        switch=str(home.cloud_switch),
        proxy=settings.proxy,
    )


def cloud_engines(home: Home, settings: CloudSettings) -> tuple[Engine, ...]:
    """The models of the cloud; none unless they are enabled."""
    if not settings.enabled:
        return ()
    return tuple(
        Engine(
            role=f"cloud:{name}",
            model=name,
            names=(name,),
            upstream_model=one.model,
            url=settings.providers[one.provider].url,
            api_key_file=str(_key_file(home, settings, one.provider)),
            context=one.context,
            provider=one.provider,
            dialect=settings.providers[one.provider].kind,
            max_output=one.max_tokens,
            reasoning=one.reasoning,
        )
        for name, one in settings.models.items()
    )


def turn_off(home: Home) -> bool:
    """Stop everything towards the cloud, at once and before anything else; False when it was off already."""
    return switch.turn_off(home.cloud_switch)


def turn_on(home: Home) -> bool:
    """End the stop; False when there was none."""
    return switch.turn_on(home.cloud_switch)


def keep_key(home: Home, settings: CloudSettings, provider: str, given: bytes) -> Path:
    """Keep a provider's key for us alone; returns its file. Raises wrong-use; no error holds the key."""
    named = settings.providers.get(provider)
    if named is None:
        known = ", ".join(settings.providers) or "none"
        raise ApplianceError(
            "wrong-use",
            f"There is no provider '{provider}' in the settings.",
            f"Add [cloud.providers.{provider}] to {home.config}; there are: {known}.",
        )
    if named.key_file is not None or named.credential is not None:
        raise ApplianceError(
            "wrong-use",
            f"The settings say that the key of '{provider}' is somewhere else.",
            f"Take `key_file` or `credential` out of [cloud.providers.{provider}], or put the key there.",
        )
    try:
        key = secrets.checked_key(given)
    except secrets.UnusableKeyError as error:
        raise ApplianceError(
            "wrong-use",
            f"What was given is no key: {error}.",
            f"Pass the key alone: appliance cloud key {provider} < FILE",
        ) from None
    return secrets.write_key(home.secrets, provider, key)


def status(home: Home, settings: CloudSettings, opened: Session, now: datetime | None = None) -> dict[str, Any]:
    """What `appliance cloud status` tells. Money in micro-units, for the calendar month of UTC; never a key."""
    # With it comes the ORM, which `appliance serve` starts twice as fast without.
    from appliance.ledger.cloud import spent

    month = (now or datetime.now(UTC)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    by_provider = spent(opened, int(month.timestamp()) * 1_000_000)
    cap = parse_money(settings.monthly_cap) if settings.monthly_cap is not None else None
    off = switch.is_off(home.cloud_switch)
    return {
        "enabled": settings.enabled,
        "switched_off": off,
        "sends": settings.enabled and not off,
        "teams": settings.teams,
        "local_only": settings.local_only,
        "month": month.strftime("%Y-%m"),
        "monthly_cap": cap,
        "spent": sum(by_provider.values()),
        "providers": [
            {
                "name": name,
                "kind": one.kind,
                "url": one.url,
                "key": _key_state(home, settings, name),
                "models": [model for model, about in settings.models.items() if about.provider == name],
                "spent": by_provider.get(name, 0),
            }
            for name, one in settings.providers.items()
        ],
    }


def _key_state(home: Home, settings: CloudSettings, provider: str) -> str:
    """`present`, `missing`, or why the key cannot be used."""
    try:
        found = secrets.read_key(_key_file(home, settings, provider))
    except secrets.UnusableKeyError as error:
        return str(error)
    return "missing" if found is None else "present"


def _key_file(home: Home, settings: CloudSettings, provider: str) -> Path:
    named = settings.providers[provider]
    return secrets.key_file(home.secrets, provider, named.key_file, named.credential)
