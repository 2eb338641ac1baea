"""`appliance models`: what the box can run."""

from __future__ import annotations

from typing import Annotated

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import Progress, document, say, table

app = typer.Typer(help="The models this box can run.", no_args_is_help=True, rich_markup_mode=None)

ModelId = Annotated[
    str | None, typer.Argument(help="Model id, as `models list` shows it; the chosen one when left out.")
]


@app.command(name="list")
def list_models(context: typer.Context, as_json: Json = False) -> None:
    """List the models of the catalogue: which are here, which one is chosen.

    Example: appliance models list
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.control.plan import catalogue, chosen_model
    from appliance.units import show_bytes

    home = home_of(context)
    shelf, chosen = Shelf(home.models), chosen_model(settings_of(home))
    found = [
        {
            "id": model.id,
            "title": model.title,
            "role": model.role,
            "quantization": model.quantization,
            "size": model.size,
            "licence": model.licence,
            "trial": model.trial,
            "on_shelf": shelf.has(model),
            "chosen": model == chosen,
        }
        for model in catalogue().models
    ]
    if as_json:
        document(found)
        return
    table(
        ["id", "for", "quantization", "size", "licence", "state"],
        [
            [
                model["id"],
                model["role"],
                model["quantization"],
                show_bytes(int(str(model["size"]))),
                model["licence"],
                ", ".join(
                    word
                    for word, holds in (
                        ("chosen", model["chosen"]),
                        ("here" if model["on_shelf"] else "not fetched", True),
                        ("trial model", model["trial"]),
                    )
                    if holds
                ),
            ]
            for model in found
        ],
    )


@app.command()
def pull(context: typer.Context, model_id: ModelId = None) -> None:
    """Fetch a model, verify it, and put it on the shelf. What is there already is left alone.

    Example: appliance models pull smollm2-135m-instruct
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.control.plan import catalogue, chosen_model

    home = home_of(context)
    home.prepare()
    model = catalogue().get(model_id) if model_id else chosen_model(settings_of(home))
    if model is None:
        say("The engine is somebody else's: there is no model to fetch.")
        return
    shelf = Shelf(home.models)
    if shelf.has(model):
        say(f"{model.title} is here already.")
        return
    say(f"Fetching {model.title}")
    shelf.pull(model, Progress().size(f"Verifying {model.title}"))
    say(f"{model.title} is on the shelf, verified by its SHA-256.")


@app.command()
def verify(context: typer.Context, model_id: ModelId = None, as_json: Json = False) -> None:
    """Read a model's whole file and compare its SHA-256.

    Example: appliance models verify
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.control.plan import catalogue, chosen_model

    home = home_of(context)
    model = catalogue().get(model_id) if model_id else chosen_model(settings_of(home))
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
