"""What the request path is told when it starts, from the settings and the deployment on disk."""

from __future__ import annotations

from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control import exposure
from appliance.control.cloud import cloud_engines, cloud_terms
from appliance.deployment import Deployment, Engine, Service, merged
from appliance.store import handover


def service_of(home: Home, settings: Settings, port: int | None) -> Service:
    """The request path of an appliance, on `port` instead of the settings' one if given.

    Raises no-engine, deployment-unreadable or lan-insecure.
    """
    exposure.check(settings)
    gateway = settings.gateway
    return Service(
        config=str(home.config),
        state=str(home.state),
        host=gateway.host,
        port=port or gateway.port,
        max_body=gateway.max_body,
        max_file=gateway.max_file,
        batch_lines=gateway.batch_lines,
        requests_at_once=gateway.requests_at_once,
        engine_wait_s=gateway.engine_wait_s,
        deployment=served_by(home, settings),
        routing=settings.routing.terms(),
        prices=tuple(one.row() for one in settings.prices),
        reference_prices=tuple(one.row() for one in settings.reference_prices),
        queue_s=gateway.queue_s,
        headroom_s=gateway.headroom_s,
        answer_tokens=gateway.answer_tokens,
        currency=settings.money.currency,
        remote=(*remote_engines(settings), *cloud_engines(home, settings.cloud)),
        cloud=cloud_terms(home, settings.cloud),
        issuer=settings.identity.issuer if settings.identity.enabled else "",
        socket=str(home.socket("gateway")) if settings.lan.enabled else "",
    )


def served_by(home: Home, settings: Settings) -> Deployment:
    """The deployment on disk, and the engines behind a URL and of the cloud from the settings.

    Raises no-engine or deployment-unreadable.
    """
    remote = (*remote_engines(settings), *cloud_engines(home, settings.cloud))
    return merged(handover.read(home.deployment), remote)


def remote_engines(settings: Settings) -> tuple[Engine, ...]:
    """The engines behind a URL that the settings name."""
    return tuple(
        remote_engine(
            role,
            url=wanted.url,
            model=wanted.model,
            api_key_file=wanted.api_key_file,
            # Else nobody has said how many it works on at once.
            slots=wanted.slots if "slots" in wanted.model_fields_set else None,
        )
        for role, wanted in settings.engines.items()
        if wanted.url is not None and wanted.model is not None
    )


def remote_engine(role: str, url: str, model: str, api_key_file: str | None, slots: int | None = None) -> Engine:
    """An engine that somebody else runs."""
    return Engine(
        role=role,
        model=model,
        names=tuple(dict.fromkeys((role, model))),
        upstream_model=model,
        url=url,
        api_key_file=api_key_file,
        slots=slots,
    )
