"""`appliance models use`: have people served by another model."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.models import fetch
from appliance.cli.output import document, say

if TYPE_CHECKING:
    from appliance.catalog.models import Model
    from appliance.control.use import Used


class UseRole(StrEnum):
    """What a model is to be used for."""

    chat = "chat"
    small = "small"
    embed = "embed"
    rerank = "rerank"


def use(
    context: typer.Context,
    model_id: Annotated[str, typer.Argument(help="Model id, as `models list --all` shows it.")],
    role: Annotated[UseRole, typer.Option(help="What it is to be used for.")] = UseRole.chat,
    tokens: Annotated[
        int | None, typer.Option("--context", min=512, max=1_048_576, help="Tokens of the longest conversation.")
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, max=64, help="Requests that are worked on at once.")] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept the licence's conditions, or what else needs a yes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve a role by another model: fetch, verify, plan, start, prove, and change over with no failed request.

    If anything goes wrong, the old model still serves. While the appliance is not running, only the choice is kept.

    Example: appliance models use qwen3-8b-q4_k_m
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.control.plan import catalogue
    from appliance.control.use import check
    from appliance.control.use import use as use_now

    home = home_of(context)
    home.prepare()
    settings, model = settings_of(home), catalogue(home).get(model_id)
    check(home, settings, model, role.value)
    _insist(model, accept=accept)
    shelf = Shelf(home.models)
    if shelf.has(model):
        say(f"Verifying {model.title}")
        shelf.verify(model)
    else:
        fetch(shelf, model)
    found = use_now(home, settings, model, role.value, tokens, slots, say)
    if as_json:
        document(_document(found, role))
    else:
        say(_sentence(found, role))


def _document(found: Used, role: UseRole) -> dict[str, Any]:
    from appliance.proof.words import summary

    choice, proof = found.choice, found.proof
    return {
        "id": choice.model.id,
        "role": role.value,
        "context": choice.context,
        "slots": choice.slots,
        "kv": choice.kv,
        "serving": proof is not None or found.was_in_use,
        "proof": summary(proof) if proof else None,
    }


def _sentence(found: Used, role: UseRole) -> str:
    from appliance.proof.words import sentence

    choice = found.choice
    title, shape = choice.model.title, f"{choice.slots} slots of {choice.context} tokens"
    if found.was_in_use:
        return f"{title} serves {role.value} already, {shape}."
    if found.proof is None:
        return f"{title} is chosen for {role.value}, {shape}. Start it with `appliance up`."
    return f"{title} serves {role.value} now, {shape}: {sentence(found.proof)}."


def _insist(model: Model, *, accept: bool) -> None:
    """Raises needs-yes for a model that is not free for every business, or not made for many at once."""
    from appliance.errors import ApplianceError

    family = model.family
    reasons = []
    if family.commercial is not True:
        reasons.append(f"its licence, {model.licence}: {family.condition or 'no commercial use'}")
    if model.needs_consent:
        reasons.append(model.needs_consent)
    if reasons and not accept:
        raise ApplianceError(
            "needs-yes",
            f"{model.title} needs a yes: {'; '.join(reasons)}.",
            f"To go ahead: appliance models use {model.id} --accept",
        )
