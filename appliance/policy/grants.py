"""What a principal may use: an empty scope is every local model, or every endpoint."""

from __future__ import annotations

from appliance.errors import ApplianceError
from appliance.policy.principals import Principal


def permit(principal: Principal, endpoint: str, model_names: tuple[str, ...]) -> None:
    """Refuse what the principal may not use. Raises endpoint-not-allowed or model-not-allowed.

    `model_names` are the names of one model: the public name asked for, then the catalogue id that serves it; one
    that is allowed is enough. Without any, only the endpoint counts.
    """
    if principal.endpoints and endpoint not in principal.endpoints:
        raise ApplianceError(
            "endpoint-not-allowed",
            f"This key is not for '{endpoint}'.",
            f"It may use: {_listed(principal.endpoints)}. Your admin can make a key for more.",
        )
    if model_names and not may_use(principal, model_names):
        raise ApplianceError(
            "model-not-allowed",
            f"This key is not for the model '{model_names[0]}'.",
            f"It may use: {_listed(principal.models)}. Your admin can make a key for more.",
            param="model",
        )


def may_use(principal: Principal, model_names: tuple[str, ...]) -> bool:
    """Whether the principal may use the model that has these names."""
    return not principal.models or not principal.models.isdisjoint(model_names)


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
