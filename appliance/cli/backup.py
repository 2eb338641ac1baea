"""`appliance backup` and `appliance restore`."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import Json, confirm, home_of, settings_of
from appliance.cli.output import document, is_terminal, say, table, write

if TYPE_CHECKING:
    from appliance.backup.repository import Kept
    from appliance.control.backups import Begun

app = typer.Typer(help="Backups of all state, encrypted.", no_args_is_help=True, rich_markup_mode=None)


@app.command("set-up")
def set_up(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="PLACE", help="A folder, best on another disk, or an address of restic.")
    ],
    as_json: Json = False,
) -> None:
    """Say where backups go, and get the recovery key: twelve words, shown this once. Without them a backup is lost.

    Run again, it names another place; the key stays.

    Example: appliance backup set-up /media/usb/appliance
    """
    from appliance.control import backups

    begun = backups.set_up(home_of(context), target)
    if as_json:
        document({"target": begun.target, "new_key": begun.new, "recovery_key": begun.words if begun.new else None})
        return
    if begun.new:
        _hand_over(begun)
    say(f"Backups go to {begun.target} from now on, by themselves each night. See when: appliance backup schedule")
    say("Make the first one now: appliance backup create")


def _hand_over(begun: Begun) -> None:
    """Show the key, this once: on the screen alone."""
    if is_terminal():
        from appliance.identity import qr

        write(qr.terminal(begun.words))
    write(f"{begun.words}\n")
    say("These twelve words are the recovery key. They are shown this once: write them down, and keep them away from")
    say("this machine. When it is lost or broken, nobody can read its backups without them.")


@app.command()
def create(context: typer.Context, as_json: Json = False) -> None:
    """Make a backup now, while everybody goes on working. Model files are left out: they are fetched again.

    Example: appliance backup create
    """
    from appliance.control import backups
    from appliance.units import show_bytes

    home = home_of(context)
    found = backups.create(home, settings_of(home), say)
    if as_json:
        document(found)
        return
    size, added = show_bytes(found["bytes"]), show_bytes(found["added"])
    say(f"The backup {found['id']} is made: {size} in all, and {added} more are taken where it is kept.")


@app.command("list")
def list_backups(context: typer.Context, as_json: Json = False) -> None:
    """List the backups, the oldest first.

    Example: appliance backup list
    """
    from appliance.control import backups

    home = home_of(context)
    kept = backups.listed(home, settings_of(home))
    if as_json:
        document([{"id": one.id, "made_at": one.made_at} for one in kept])
        return
    table(["id", "made"], [(one.id, _when(one.made_at)) for one in kept])
    if not kept:
        say("There is no backup yet. Make one: appliance backup create")


@app.command()
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Read every byte of all backups, and say whether they are whole. It takes as long as reading them takes.

    Example: appliance backup verify
    """
    from appliance.control import backups

    home = home_of(context)
    settings = settings_of(home)
    backups.verify(home, settings)
    if as_json:
        document({"target": settings.backup.to, "whole": True})
    else:
        say(f"The backups in {settings.backup.to} are whole.")


@app.command()
def drill(context: typer.Context, as_json: Json = False) -> None:
    """Restore the newest backup into a sandbox beside what runs, start it, sign in and chat; then remove it all.

    Only this shows that everything would be back. It says how much work would be lost if the machine broke now, and
    how long it would take to be back.

    Example: appliance backup drill
    """
    from dataclasses import asdict

    from appliance.control import drilling

    home = home_of(context)
    found = drilling.drill(home, settings_of(home), say)
    if as_json:
        document(asdict(found) | {"back_s": round(found.back_s, 1), "fetch_s": round(found.fetch_s, 1)})
        return
    signed_in = "somebody signed in, and " if found.signed_in else ""
    say(f"The backup {found.id} works: {found.rows} rows are back, {signed_in}a model answered.")
    say(f"If this machine broke now, the work of the last {_span(found.lost_s)} would be lost,")
    say(f"and everything be back {_span(int(found.back_s))} after a new one is installed.")


@app.command()
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet, as on a USB disk.")],
    as_json: Json = False,
) -> None:
    """Make a backup that is one file, encrypted with the recovery key: for the safe.

    Example: appliance backup export /media/usb/appliance.backup
    """
    from appliance.control import backups
    from appliance.units import show_bytes

    size = backups.export(home_of(context), file.absolute(), say)
    if as_json:
        document({"file": str(file.absolute()), "bytes": size})
        return
    say(f"{file} has everything ({show_bytes(size)}). With the recovery key: appliance restore --from {file}")


@app.command()
def schedule(
    context: typer.Context,
    at: Annotated[str | None, typer.Option("--at", metavar="HH:MM", help="When a backup is made each day.")] = None,
    verify_days: Annotated[
        int | None, typer.Option("--verify-days", min=1, max=365, help="After how many days all is read and checked.")
    ] = None,
    drill_days: Annotated[
        int | None, typer.Option("--drill-days", min=1, max=365, help="After how many days one is restored and tried.")
    ] = None,
    on: Annotated[
        bool | None, typer.Option("--on/--off", help="Whether the box does this by itself.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show or change when the box makes, checks and tries its backups by itself.

    Example: appliance backup schedule --at 03:00
    """
    from appliance.control import backups
    from appliance.control import schedule as plan

    home = home_of(context)
    wanted = {"at": at, "verify_days": verify_days, "drill_days": drill_days, "scheduled": on}
    changed = {name: value for name, value in wanted.items() if value is not None}
    settings = backups.reschedule(home, settings_of(home), changed)
    found = plan.planned(home, settings)
    if as_json:
        document([{"command": one.command, "last": _iso(one.last), "next": _iso(one.next)} for one in found])
        return
    table(
        ["what", "last done", "next"],
        [(f"backup {one.command}", _local(one.last) or "never", _local(one.next) or "not by itself") for one in found],
    )
    if not settings.backup.scheduled:
        say("Nothing is done by itself. Have it done: appliance backup schedule --on")


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None


def _local(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _span(seconds: int) -> str:
    """So long, as a person says it."""
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def restore(
    context: typer.Context,
    id: Annotated[str, typer.Argument(metavar="ID", help="Which backup, as `backup list` shows it.")] = "latest",
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="PLACE", help="Where the backups are, or an exported file; else as set up."),
    ] = None,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the recovery key from standard input, and do not ask for it.")
    ] = False,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the box when it is restored.")] = True,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Json = False,
) -> None:
    """Bring everything back as it was at a backup: on this machine, or on a new one that was just installed.

    What is there now is put aside, not deleted. Whoever was disabled since is as they were then: look through
    `appliance users list`.

    Example: appliance restore --from /media/usb/appliance
    """
    from appliance.control import restoring
    from appliance.errors import ApplianceError

    home = home_of(context)
    target = source or settings_of(home).backup.to
    if target is None:
        raise ApplianceError("backup-not-set-up", "Nobody has said where the backups are.", "Name it: --from PLACE")
    used = home.database.exists()
    if used:
        confirm(yes, dry_run, f"restore {id}")
    words = _words(key_stdin, known=home.backup_key.exists())
    if dry_run:
        _would(restoring.find(home, target, words, id), used, as_json)
        return
    found = restoring.restore(home, target, words, id, say)
    say(f"Everything is as it was at {_when(found.about.made_at)}. What was there before is in {found.aside}")
    if start:
        _start(context)
    if as_json:
        document({"id": found.id, "made_at": found.about.made_at, "aside": str(found.aside)})


def _would(found: Kept, used: bool, as_json: bool) -> None:
    if as_json:
        document({"id": found.id, "made_at": found.made_at, "aside": None})
        return
    say(f"Everything would be as it was at {_when(found.made_at)}, by the backup {found.id}.")
    if used:
        say("What was done since would be put aside, and missing.")


def _when(instant: str) -> str:
    return f"{instant[:16].replace('T', ' ')} UTC"


def _words(key_stdin: bool, known: bool) -> str | None:
    """The recovery key, as somebody types it; None where the box has it."""
    if key_stdin:
        return sys.stdin.readline()
    if known:
        return None
    if not sys.stdin.isatty():
        return ""
    say("The recovery key, twelve words:")
    return sys.stdin.readline()


def _start(context: typer.Context) -> None:
    from appliance.cli import lifecycle

    lifecycle.up(context)
