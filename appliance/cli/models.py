"""`appliance models`: what the box can run."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from appliance.catalog.rules import ROLES
from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import Progress, document, say, table, write

app = typer.Typer(help="The models this box can run.", no_args_is_help=True, rich_markup_mode=None)

ModelId = Annotated[
    str | None, typer.Argument(help="Model id, as `models list` shows it; the chosen one when left out.")
]
Role = Enum("Role", [(role, role) for role in ROLES])  # type: ignore[misc]


@app.command(name="list")
def list_models(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Every model of the catalogue, not only those here.")] = False,
    role: Annotated[Role | None, typer.Option(help="Only the models for this.")] = None,
    as_json: Json = False,
) -> None:
    """List the models that are here, and the chosen one; with --all, every model of the catalogue.

    Example: appliance models list --all --role chat
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.cli.model_words import COLUMNS, row, summary
    from appliance.control.plan import catalogue, chosen_model

    home = home_of(context)
    shelf, chosen = Shelf(home.models), chosen_model(home, settings_of(home))
    wanted = [model for model in catalogue(home).models if role is None or model.role == role.value]
    found = [
        (model, here)
        for model, here in ((model, shelf.has(model)) for model in wanted)
        if every or here or model == chosen
    ]
    if as_json:
        document([summary(model, here=here, chosen=model == chosen) for model, here in found])
        return
    table(COLUMNS, [row(model, here=here, chosen=model == chosen) for model, here in found])
    if len(found) < len(wanted):
        say(f"{len(wanted) - len(found)} more are in the catalogue: `appliance models list --all`.")


@app.command()
def show(
    context: typer.Context,
    model_id: Annotated[str, typer.Argument(help="Model id, as `models list --all` shows it.")],
    as_json: Json = False,
) -> None:
    """Tell everything that is known about a model.

    Example: appliance models show qwen3-8b-q4_k_m
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.cli.model_words import details, sentences
    from appliance.control.plan import catalogue, chosen_model

    home = home_of(context)
    model = catalogue(home).get(model_id)
    here, chosen = Shelf(home.models).has(model), model == chosen_model(home, settings_of(home))
    if as_json:
        document(details(model, here=here, chosen=chosen))
        return
    told = sentences(model, here=here, chosen=chosen)
    width = max(len(word) for word, _ in told)
    write("".join(f"{word.ljust(width)}  {text}\n" for word, text in told))


@app.command()
def pull(context: typer.Context, model_id: ModelId = None) -> None:
    """Fetch a model, verify it, and put it on the shelf. What is there already is left alone.

    Example: appliance models pull smollm2-135m-instruct
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.control.plan import catalogue, chosen_model

    home = home_of(context)
    home.prepare()
    model = catalogue(home).get(model_id) if model_id else chosen_model(home, settings_of(home))
    if model is None:
        say("The engine is somebody else's: there is no model to fetch.")
        return
    shelf = Shelf(home.models)
    if shelf.has(model):
        say(f"{model.title} is here already.")
        return
    say(f"Fetching {model.title}")
    shelf.pull(model, Progress().size(f"{'Converting' if model.convert else 'Verifying'} {model.title}"))
    say(f"{model.title} is on the shelf, verified by its SHA-256.")


@app.command()
def verify(context: typer.Context, model_id: ModelId = None, as_json: Json = False) -> None:
    """Read a model's whole file and compare its SHA-256.

    Example: appliance models verify
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.control.plan import catalogue, chosen_model

    home = home_of(context)
    model = catalogue(home).get(model_id) if model_id else chosen_model(home, settings_of(home))
    if model is None:
        say("The engine is somebody else's: there is no model to verify.")
        if as_json:
            document({"id": None, "sha256": None, "verified": False})
        return
    Shelf(home.models).verify(model)
    if as_json:
        document({"id": model.id, "sha256": model.sha256, "verified": True})
    else:
        say(f"{model.title} is whole: its SHA-256 is the pinned one.")
