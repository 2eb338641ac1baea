"""Choose how a model runs on this machine for one role: pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from appliance.catalog.models import Catalogue, Model
from appliance.config.settings import EngineSettings, Role
from appliance.engine.arguments import DEFAULTS, Options
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.selector.memory import Load
from appliance.selector.threads import threads

# The models that come without a hub.
EMBEDDED: Final = "smollm2-135m-instruct"
_EMBEDDED: Final[dict[Role, str]] = {
    "chat": EMBEDDED,
    "small": EMBEDDED,
    "embed": "all-minilm-l6-v2-q8_0",
}
_WRITING: Final = ("chat", "small")
# An engine that turns text into numbers computes each text in one piece; longer ones are refused.
_LONGEST_TEXT: Final = 2048


@dataclass(frozen=True, slots=True)
class Choice:
    """A model and its share of the machine. `context` is tokens per slot."""

    model: Model
    context: int
    slots: int
    threads: int
    kv: str = "f16"
    options: Options = DEFAULTS

    @property
    def load(self) -> Load:
        """What the planner needs to know of it."""
        return Load(self.context, self.slots, self.kv, micro_batch=self.options.micro_batch)


def choose(
    role: Role, settings: EngineSettings, catalogue: Catalogue, hardware: Hardware, beside: Collection[Role] = ()
) -> Choice:
    """The model that the settings name, or the embedded one; never more context than it was trained for.

    `beside` are the roles of other engines on this machine, which share its cores.
    Raises model-unknown, model-cannot-chat, model-cannot-serve or config-bad-value.
    """
    model = _model(role, settings, catalogue)
    context = min(settings.context, model.context or settings.context)
    options = DEFAULTS
    if role not in _WRITING:
        context = min(context, _LONGEST_TEXT)
        options = Options(micro_batch=max(options.micro_batch, context))
    computing = settings.threads or threads(role, beside, hardware.cores)
    return Choice(model, context, settings.slots, computing, settings.kv, options)


def _model(role: Role, settings: EngineSettings, catalogue: Catalogue) -> Model:
    wanted = settings.model or _EMBEDDED.get(role)
    if wanted is None:
        raise ApplianceError(
            "config-bad-value",
            f"The settings have [engines.{role}] without a model.",
            f"Choose one: `appliance models list --all --role {role}`, then `appliance models use ID --role {role}`.",
        )
    model = catalogue.get(wanted)
    check_role(model, role)
    return model


def check_role(model: Model, role: Role) -> None:
    """Raises model-cannot-chat or model-cannot-serve for a model that is made for something else."""
    if role in _WRITING and not model.can_write:
        raise ApplianceError(
            "model-cannot-chat",
            f"'{model.id}' is a model for the role '{model.role}', and cannot chat.",
            "Choose one that `appliance models list --all --role chat` shows.",
        )
    if role not in _WRITING and model.role != role:
        raise ApplianceError(
            "model-cannot-serve",
            f"'{model.id}' is a model for the role '{model.role}', and not for '{role}'.",
            f"Choose one that `appliance models list --all --role {role}` shows.",
        )
