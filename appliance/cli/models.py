"""`appliance models`: what the box can run, fetched and cleared away."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.catalog.rules import ROLES
from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import Progress, document, say, table, write

if TYPE_CHECKING:
    from appliance.artifacts.shelf import Shelf
    from appliance.catalog.models import Model

Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]

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
    from appliance.control.status import all_proofs
    from appliance.proof.words import in_short, proof_summary

    home = home_of(context)
    shelf, choice = Shelf(home.models), chosen_model(home, settings_of(home))
    wanted = [model for model in catalogue(home).models if role is None or model.role == role.value]
    found = [
        (shelf.known(model), here, model == choice)
        for model, here in ((model, shelf.has(model)) for model in wanted)
        if every or here or model == choice
    ]
    proofs = all_proofs(home)
    if as_json:
        told = [
            {**summary(model, here=here, chosen=chosen), "proof": proof_summary(proofs.get(model.id))}
            for model, here, chosen in found
        ]
        document(told)
        return
    lines = [
        row(model, here=here, chosen=chosen, measured=in_short(proofs.get(model.id))) for model, here, chosen in found
    ]
    table(COLUMNS, lines)
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
def pull(context: typer.Context, model_id: ModelId = None, as_json: Json = False) -> None:
    """Fetch a model, verify it, and put it on the shelf; an interrupted pull goes on where it stopped.

    What is there already is left alone.

    Example: appliance models pull smollm2-135m-instruct
    """
    from appliance.artifacts.shelf import Shelf
    from appliance.control.plan import catalogue, chosen_model

    home = home_of(context)
    home.prepare()
    model = catalogue(home).get(model_id) if model_id else chosen_model(home, settings_of(home))
    if model is None:
        say("The engine is somebody else's: there is no model to fetch.")
        if as_json:
            document({"id": None, "sha256": None, "fetched": False})
        return
    shelf = Shelf(home.models)
    was_here, before = shelf.has(model), shelf.locked(model)
    if not was_here:
        fetch(shelf, model)
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


def fetch(shelf: Shelf, model: Model) -> None:
    """Fetch a model and say how far it is."""
    say(f"Fetching {model.title}")
    progress = Progress()
    shelf.pull(model, progress.size(model.title), progress.size(f"Verifying {model.title}"))


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
    model = catalogue(home).get(model_id)
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
    found = clearing.survey(home.models, catalogue(home).models, named, handover.read(home.deployment))
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
