"""`appliance batches`: overnight jobs of all people. It reads and marks files; only the gateway writes batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of
from appliance.cli.output import document, say, table

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.policy.batches import Batch

app = typer.Typer(help="Overnight jobs: many requests from one file.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_(
    context: typer.Context,
    ended: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    as_json: Json = False,
) -> None:
    """Show whose batches there are, how far each is, how fast it goes and when it will be done.

    Example: appliance batches list --all
    """
    folder = home_of(context).files
    found = [_facts(one, folder) for one in _all(folder) if ended or not one.ended]
    if as_json:
        document(found)
        return
    rows = [(one["id"], _owner(one), one["file"], one["state"], _done(one), _speed(one), _left(one)) for one in found]
    table(("id", "owner (team)", "file", "state", "done", "lines/min", "done in about"), rows)


@app.command()
def cancel(
    context: typer.Context,
    batch: Annotated[str, typer.Argument(metavar="ID", help="The batch, as `appliance batches list` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this nothing is cancelled.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be cancelled.")] = False,
    as_json: Json = False,
) -> None:
    """End a batch at once; what was answered until now stays in its results.

    Example: appliance batches cancel batch_0123456789abcdef01234567 --yes
    """
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.errors import ApplianceError
    from appliance.gateway.batches import mark

    home = home_of(context)
    folder = home.files
    found = next((one for one in _all(folder) if one.id == batch), None)
    if found is None:
        raise ApplianceError(
            "batch-not-found", f"There is no batch '{batch[:60]}'.", "See the ids with `appliance batches list --all`."
        )
    if found.ended:
        raise ApplianceError(
            "batch-ended", f"The batch {batch} is {found.status.value} already.", "There is nothing to cancel."
        )
    facts = _facts(found, folder)
    if not dry_run:
        if not yes:
            raise ApplianceError(
                "needs-yes",
                f"This ends the batch of {_owner(facts)}: {_done(facts)} lines are done.",
                f"Say `appliance batches cancel {batch} --yes`.",
            )
        with acting(home) as acts:
            acts.note(Action.BATCH_CANCELLED, batch, owner=found.owner, team=found.team, completed=found.completed)
        # On record first: a mark that nobody stands behind would be worse than an act that is repeated.
        mark(folder, batch).touch(mode=0o600)
    if as_json:
        document({"cancelled": not dry_run, "batch": facts})
    else:
        will = "would be cancelled" if dry_run else "is cancelled, at the latest when the gateway runs again"
        say(f"The batch of {_owner(facts)} {will}: {_done(facts)} lines are done.")


def _all(folder: Path) -> list[Batch]:
    from appliance.gateway.batches import read_all

    return read_all(folder) if folder.is_dir() else []


def _facts(batch: Batch, folder: Path) -> dict[str, Any]:
    """A batch as --json has it; instants in ISO 8601, `seconds_left` None where it cannot be told."""
    from appliance.gateway.batches import mark
    from appliance.policy.batches import STOPPABLE, Status
    from appliance.units import show_instant

    done = batch.completed + batch.failed
    working = batch.status is Status.IN_PROGRESS
    cancelling = batch.status in STOPPABLE and mark(folder, batch.id).exists()
    return {
        "id": batch.id,
        "owner": batch.owner,
        "team": batch.team,
        "file": _file(folder, batch.input_file_id),
        "endpoint": batch.endpoint,
        "state": Status.CANCELLING.value if cancelling else batch.status.value,
        "total": batch.total,
        "completed": batch.completed,
        "failed": batch.failed,
        "lines_per_second": round(batch.lines_per_s, 3) if working and batch.lines_per_s else None,
        "seconds_left": round((batch.total - done) / batch.lines_per_s) if working and batch.lines_per_s else None,
        "created_at": show_instant(batch.created_us),
        "expires_at": show_instant(batch.expires_at * 1_000_000),
        "errors": [{"line": one.line, "code": one.code, "message": one.message} for one in batch.faults],
    }


def _file(folder: Path, id: str) -> str:
    """The name that a file came by, else its id."""
    import json

    try:
        return str(json.loads((folder / f"{id}.json").read_bytes())["filename"])
    except (OSError, ValueError, KeyError):
        return id


def _owner(facts: dict[str, Any]) -> str:
    return f"{facts['owner']} ({facts['team']})" if facts["team"] else str(facts["owner"])


def _done(facts: dict[str, Any]) -> str:
    failed = f", {facts['failed']} failed" if facts["failed"] else ""
    return f"{facts['completed'] + facts['failed']} of {facts['total']}{failed}"


def _speed(facts: dict[str, Any]) -> str:
    speed = facts["lines_per_second"]
    return "" if speed is None else f"{speed * 60:.0f}"


def _left(facts: dict[str, Any]) -> str:
    from appliance.units import show_duration

    return "" if facts["seconds_left"] is None else show_duration(facts["seconds_left"])
