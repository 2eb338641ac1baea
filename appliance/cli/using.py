"""`appliance models use`: have people served by other models."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.models import fetch
from appliance.cli.output import document, say

if TYPE_CHECKING:
    from appliance.catalog.models import Model
    from appliance.config.paths import Home
    from appliance.config.settings import Role
    from appliance.control.use import Used


class UseRole(StrEnum):
    """What a model is to be used for."""

    chat = "chat"
    small = "small"
    embed = "embed"
    rerank = "rerank"


@dataclass(frozen=True, slots=True)
class _Wish:
    """One model for one role."""

    model: Model
    role: Role
    context: int | None = None
    slots: int | None = None


def use(
    context: typer.Context,
    model_id: Annotated[
        str | None, typer.Argument(help="Model id, as `models list --all` shows it; else those of `models plan`.")
    ] = None,
    role: Annotated[UseRole | None, typer.Option(help="What it is to be used for. For one id: chat.")] = None,
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

    Without an id these are all the models that `models plan` chooses for this machine; with a role and no id it is the
    best one beside those that run for the other roles. If anything goes wrong, the old model still serves. While the
    appliance is not running, only the choice is kept.

    Example: appliance models use qwen3-8b-q4_k_m
    """
    from appliance.control.plan import catalogue
    from appliance.control.use import check
    from appliance.control.use import use as use_now

    home = home_of(context)
    home.prepare()
    settings = settings_of(home)
    if model_id is None:
        wishes = _planned(home, role, tokens, slots)
    else:
        wishes = [_Wish(catalogue(home).get(model_id), role.value if role else "chat", tokens, slots)]
    for wish in wishes:
        check(home, settings, wish.model, wish.role)
        _insist(wish.model, accept=accept)
    for wish in wishes:
        _have(home, wish.model)
    found = []
    for wish in wishes:
        used = use_now(home, settings_of(home), wish.model, wish.role, wish.context, wish.slots, say)
        say(_sentence(used, wish.role))
        found.append(_document(used, wish.role))
    if as_json:
        document(found if model_id is None else found[0])


def _planned(home: Home, role: UseRole | None, tokens: int | None, slots: int | None) -> list[_Wish]:
    """What the planner chooses for this machine. Raises wrong-use for a share of it that was meant for one model."""
    from appliance.control.planning import chosen, chosen_for
    from appliance.errors import ApplianceError

    if tokens or slots:
        raise ApplianceError(
            "wrong-use", "`--context` and `--slots` are for one model, and none is named.", "Name it: models use ID"
        )
    placed = chosen_for(home, role.value) if role else chosen(home)
    return [_Wish(one.model, cast("Role", one.model.role), one.load.context, one.load.slots) for one in placed]


def _have(home: Home, model: Model) -> None:
    """Have a model on the shelf, and whole."""
    from appliance.artifacts.shelf import Shelf

    shelf = Shelf(home.models)
    if shelf.has(model):
        say(f"Verifying {model.title}")
        shelf.verify(model)
    else:
        fetch(shelf, model)


def _document(found: Used, role: str) -> dict[str, Any]:
    from appliance.proof.words import summary

    choice, proof = found.choice, found.proof
    return {
        "id": choice.model.id,
        "role": role,
        "context": choice.context,
        "slots": choice.slots,
        "kv": choice.kv,
        "serving": proof is not None or found.was_in_use,
        "proof": summary(proof) if proof else None,
    }


def _sentence(found: Used, role: str) -> str:
    from appliance.proof.words import sentence

    choice = found.choice
    title, shape = choice.model.title, f"{choice.slots} slots of {choice.context} tokens"
    if found.was_in_use:
        return f"{title} serves {role} already, {shape}."
    if found.proof is None:
        return f"{title} is chosen for {role}, {shape}. Start it with `appliance up`."
    return f"{title} serves {role} now, {shape}: {sentence(found.proof)}."


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
