"""Choose how the chat model runs on this machine: pure."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.catalog.models import Catalogue, Model
from appliance.config.settings import EngineSettings
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware

# The model that comes without a hub.
EMBEDDED = "smollm2-135m-instruct"


@dataclass(frozen=True, slots=True)
class Choice:
    """A model and its share of the machine. `context` is tokens per slot."""

    model: Model
    context: int
    slots: int
    threads: int


def choose(settings: EngineSettings, catalogue: Catalogue, hardware: Hardware) -> Choice:
    """The model that the settings name, or the embedded one; never more context than it was trained for.

    Raises model-unknown or model-cannot-chat.
    """
    model = catalogue.get(settings.model or EMBEDDED)
    if not model.can_write:
        raise ApplianceError(
            "model-cannot-chat",
            f"'{model.id}' is a model for the role '{model.role}', and cannot chat.",
            "Choose one that `appliance models list --all --role chat` shows.",
        )
    return Choice(
        model=model,
        context=min(settings.context, model.context or settings.context),
        slots=settings.slots,
        threads=settings.threads or hardware.cores,
    )
