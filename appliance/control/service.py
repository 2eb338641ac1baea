"""What the request path is told when it starts, from the settings and the deployment on disk."""

from __future__ import annotations

from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.deployment import Deployment, Engine, Service
from appliance.errors import ApplianceError
from appliance.store import handover


def service_of(home: Home, settings: Settings, port: int | None) -> Service:
    """The request path of an appliance, on `port` instead of the settings' one if given.

    Raises no-engine or deployment-unreadable.
    """
    gateway = settings.gateway
    return Service(
        config=str(home.config),
        state=str(home.state),
        host=gateway.host,
        port=port or gateway.port,
        max_body=gateway.max_body,
        requests_at_once=gateway.requests_at_once,
        engine_wait_s=gateway.engine_wait_s,
        deployment=served_by(home, settings),
    )


def served_by(home: Home, settings: Settings) -> Deployment:
    """The deployment on disk, and the engines behind a URL from the settings.

    Raises no-engine or deployment-unreadable.
    """
    stored = handover.read(home.deployment)
    remote = [
        remote_engine(role, url=wanted.url, model=wanted.model, api_key_file=wanted.api_key_file)
        for role, wanted in settings.engines.items()
        if wanted.url is not None and wanted.model is not None
    ]
    roles = {engine.role for engine in remote}
    engines = (*remote, *(engine for engine in stored.engines if engine.role not in roles))
    if not engines:
        raise ApplianceError(
            "no-engine",
            "No engine is deployed and none is named in the settings.",
            "Run `appliance up`, or set [engines.chat] url.",
        )
    return Deployment(release=stored.release, engines=engines)


def remote_engine(role: str, url: str, model: str, api_key_file: str | None) -> Engine:
    """An engine that somebody else runs."""
    return Engine(
        role=role,
        model=model,
        names=tuple(dict.fromkeys((role, model))),
        upstream_model=model,
        url=url,
        api_key_file=api_key_file,
    )
