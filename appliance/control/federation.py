"""The other sources of sign-on, from the settings."""

from __future__ import annotations

from appliance.config.settings import IdentitySettings
from appliance.policy.directory import Directory
from appliance.policy.federation import Upstream
from appliance.policy.vouching import Ages


def directory_of(settings: IdentitySettings) -> Directory | None:
    """The company's directory; None where there is none."""
    one = settings.directory
    if one.url is None:
        return None
    terms = one.model_dump(exclude={"url", "bind_password_file", "domains"})
    return Directory(url=one.url, password_file=one.bind_password_file or "", domains=tuple(one.domains), **terms)


def ages_of(settings: IdentitySettings) -> Ages:
    """How long the word of another source holds."""
    return Ages(settings.provider_hours, settings.grace_hours)


def upstreams_of(settings: IdentitySettings) -> tuple[Upstream, ...]:
    """The other providers that people may sign in with, in the order of the settings."""
    return tuple(
        Upstream(
            name=name,
            label=one.label or name,
            issuer=one.issuer or "",
            client_id=one.client_id,
            secret_file=one.client_secret_file or "",
            domains=tuple(one.domains),
            role=one.role,
            scopes=tuple(one.scopes),
            groups_claim=one.groups_claim,
            groups=one.groups,
            ca_file=one.ca_file,
        )
        for name, one in settings.providers.items()
    )
