"""May this request leave the box for a model of the cloud, and how large can it become at most: pure.

Denied unless everything allows it. Nothing here can be overruled by a rule that chooses models: a rule picks
a name, and the name is looked at here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from appliance.deployment import CloudTerms, Engine
from appliance.errors import ApplianceError
from appliance.policy.principals import Principal

# The header with which a request says what its data is.
DATA_HEADER: Final = b"x-appliance-data"
EVERYBODY: Final = "*"
# What a provider puts around a prompt that we do not see: templates, the words that explain tools.
_AROUND_THE_PROMPT: Final = 1_000


class DataClass(StrEnum):
    """What a request says of its data."""

    ANY = "any"
    LOCAL_ONLY = "local-only"


@dataclass(frozen=True, slots=True)
class Permit:
    """The word that one request may be sent. No answer to it has more than `max_tokens`: that much is held for it."""

    max_tokens: int


def data_class(values: Iterable[str]) -> DataClass:
    """The class that the header's values give. A word that nobody knows keeps the data here, as a typing error must."""
    words = {value.strip().lower() for value in values} - {""}
    return DataClass.ANY if words <= {DataClass.ANY} else DataClass.LOCAL_ONLY


def may_send(
    terms: CloudTerms | None, principal: Principal, data: DataClass, switch_is_off: bool
) -> ApplianceError | None:
    """Why a request must not be sent; None when it may."""
    if terms is None:
        return _off("Models of the cloud are not enabled on this box.", "Use a model of this box: GET /v1/models.")
    if switch_is_off:
        return switched_off()
    if data is DataClass.LOCAL_ONLY:
        return _not_allowed(
            "The request says that its data must stay on this box.",
            "Use a model of this box, or leave out the header x-appliance-data.",
        )
    kept = {name.casefold() for name in terms.local_only}
    for kind, name in (("team", principal.team), ("user", principal.name), ("key", principal.key_id)):
        if f"{kind}:{name}".casefold() in kept:
            return _not_allowed(
                f"All data of the {kind} '{name}' stays on this box.", "Use a model of this box: GET /v1/models."
            )
    if EVERYBODY in terms.teams or (principal.team and principal.team in terms.teams):
        return None
    whose = f"The team '{principal.team}' has" if principal.team else "A key without a team has"
    return _not_allowed(
        f"{whose} no consent to use models of the cloud.",
        "Use a model of this box, or ask your admin, who gives consent in the setting `cloud.teams`.",
    )


def switched_off() -> ApplianceError:
    """The refusal while the admin's switch is off."""
    return _off(
        "Your admin has switched models of the cloud off.", "Use a model of this box; `appliance cloud on` ends it."
    )


def without_permit() -> ApplianceError:
    """The refusal of a request that nobody has looked at."""
    return _not_allowed(
        "Nothing has decided that this request may leave the box.", "Use a model of this box: GET /v1/models."
    )


def answer_limit(engine: Engine, asked: int | None) -> int:
    """How many tokens an answer may have at most: what was asked for, and never more than the model's setting."""
    return min(asked or engine.max_output, engine.max_output)


def most_prompt(engine: Engine, prompt_bytes: int) -> int:
    """The most tokens that a prompt can have, for what is held before it is sent.

    No tokenizer makes more tokens than there are bytes, and no provider reads more than the model's context. A
    quarter of the bytes, good enough for books, would let a text in other scripts pass under the cap.
    """
    most = prompt_bytes + _AROUND_THE_PROMPT
    return most if engine.context is None else min(most, engine.context)


def without_price(engine: Engine) -> ApplianceError:
    """The refusal of a model whose cost nobody can reckon today."""
    return ApplianceError(
        "cloud-no-price",
        f"The model '{engine.model}' has no price for today, so what it costs could not be capped.",
        "Use a model of this box, or let your admin add its price to the settings ([[prices]]).",
    )


def _off(sentence: str, hint: str) -> ApplianceError:
    return ApplianceError("cloud-off", sentence, hint)


def _not_allowed(sentence: str, hint: str) -> ApplianceError:
    return ApplianceError("cloud-not-allowed", sentence, hint)
