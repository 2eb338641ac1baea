"""Choose how the chat model runs on this machine: pure."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.catalog.models import Catalogue, Model
from appliance.config.settings import EngineSettings
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

    Raises model-unknown.
    """
    model = catalogue.get(settings.model or EMBEDDED)
    return Choice(
        model=model,
        context=min(settings.context, model.context),
        slots=settings.slots,
        threads=settings.threads or hardware.cores,
    )
