"""`appliance models`: what the box can run, fetched and cleared away."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import Progress, document, say, table

app = typer.Typer(help="The models this box can run.", no_args_is_help=True, rich_markup_mode=None)

ModelId = Annotated[
    str | None, typer.Argument(help="Model id, as `models list` shows it; the chosen one when left out.")
]

Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


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
            "size": shelf.known(model).size,
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
                show_bytes(int(str(model["size"]))) if model["size"] else "",
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
def pull(context: typer.Context, model_id: ModelId = None, as_json: Json = False) -> None:
    """Fetch a model, verify it, and put it on the shelf; an interrupted pull goes on where it stopped.

    What is there already is left alone.

    Example: appliance models pull smollm2-135m-instruct
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.control.plan import catalogue, chosen_model

    home = home_of(context)
    home.prepare()
    model = catalogue().get(model_id) if model_id else chosen_model(settings_of(home))
    if model is None:
        say("The engine is somebody else's: there is no model to fetch.")
        if as_json:
            document({"id": None, "sha256": None, "fetched": False})
        return
    shelf = Shelf(home.models)
    was_here, before = shelf.has(model), shelf.locked(model)
    if not was_here:
        say(f"Fetching {model.title}")
        progress = Progress()
        shelf.pull(model, progress.size(model.title), progress.size(f"Verifying {model.title}"))
    locked = shelf.locked(model)
    if as_json:
        known = shelf.known(model)
        document(
            {
                "id": model.id,
                "sha256": known.sha256,
                "size": known.size,
                "file": str(shelf.path(model)),
                "fetched": not was_here,
                "locked": None if locked is None else dataclasses.asdict(locked),
            }
        )
        return
    if locked is not None and locked != before:
        at = f" revision {locked.revision}," if locked.revision else ""
        said = "as the hub states it" if locked.how == "hub" else "as measured here: nobody has stated it"
        say(f"Locked on first contact:{at} sha256 {locked.sha256}, {said}.")
    if was_here:
        say(f"{model.title} is here already.")
    else:
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
    shelf = Shelf(home.models)
    shelf.verify(model)
    if as_json:
        document({"id": model.id, "sha256": shelf.known(model).sha256, "verified": True})
    else:
        say(f"{model.title} is whole: its SHA-256 is the pinned one.")


@app.command()
def rm(
    context: typer.Context,
    model_id: Annotated[str, typer.Argument(help="Model id, as `models list` shows it.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove a model's file, and what an interrupted pull of it has left. One that is in use stays.

    Example: appliance models rm smollm2-135m-instruct --yes
    """
    from appliance.artifacts import clearing
    from appliance.control.plan import catalogue
    from appliance.errors import ApplianceError
    from appliance.store import handover
    from appliance.units import show_bytes

    home = home_of(context)
    home.prepare()
    model = catalogue().get(model_id)
    clearing.check_unused(home.models, model, handover.read(home.deployment))
    found = clearing.files_of(home.models, model)
    if not found:
        raise ApplianceError("model-missing", f"{model.title} is not here.", "`appliance models list` shows what is.")
    size = sum(leftover.size for leftover in found)
    if dry_run or not yes:
        say(f"{model.title} would be removed, {show_bytes(size)}; it would have to be fetched again.")
    _insist(yes or dry_run, f"appliance models rm {model_id} --yes")
    if not dry_run:
        clearing.remove(home.models, model)
    if as_json:
        document({"id": model.id, "bytes": size, "removed": not dry_run})
    elif not dry_run:
        say(f"{model.title} is removed: {show_bytes(size)} are free again.")


@app.command()
def gc(context: typer.Context, yes: Yes = False, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Remove what nothing names any more: model files, and what interrupted pulls have left.

    What the catalogue, the settings or a running engine names stays, and so does a pull under way.

    Example: appliance models gc --yes
    """
    from appliance.artifacts import clearing
    from appliance.control.plan import catalogue
    from appliance.store import handover
    from appliance.units import show_bytes

    home = home_of(context)
    home.prepare()
    named = [engine.model for engine in settings_of(home).engines.values() if engine.model]
    found = clearing.survey(home.models, catalogue().models, named, handover.read(home.deployment))
    size = sum(leftover.size for leftover in found)
    if not as_json:
        table(["file", "size"], [[leftover.name, show_bytes(leftover.size)] for leftover in found])
    if found and (dry_run or not yes):
        say(f"{len(found)} files would be removed, {show_bytes(size)}.")
    _insist(yes or dry_run or not found, "appliance models gc --yes")
    if not dry_run:
        clearing.clear(home.models, found)
    if as_json:
        files = [{"name": leftover.name, "bytes": leftover.size} for leftover in found]
        document({"files": files, "bytes": size, "removed": not dry_run})
    elif not dry_run:
        say(f"{show_bytes(size)} are free again." if found else "There is nothing to remove.")


def _insist(confirmed: bool, command: str) -> None:
    """Raises needs-yes unless the admin has confirmed."""
    from appliance.errors import ApplianceError

    if not confirmed:
        raise ApplianceError("needs-yes", "Nothing was changed.", f"To go ahead: {command}")
