"""`appliance update`: another version of the appliance, and the way back."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, confirm, home_of, settings_of
from appliance.cli.follow import Follower
from appliance.cli.output import document, leave, say, table, write

if TYPE_CHECKING:
    from appliance.config.paths import Home
    from appliance.update.journal import Record

app = typer.Typer(
    help="Another version of the appliance, and the way back.", no_args_is_help=True, rich_markup_mode=None
)

_FOLLOW_S = 0.2
Place = Annotated[
    str | None, typer.Argument(metavar="PLACE", help="The release: a folder, or an address; else as the settings say.")
]
Attached = Annotated[
    bool, typer.Option("--attached", help="Work in this process, and not in one that outlives this terminal.")
]


@app.command()
def check(context: typer.Context, place: Place = None, as_json: Json = False) -> None:
    """Look at a release: what version it is, who signed it, and whether it may be installed here. Changes nothing.

    Example: appliance update check /media/usb/release
    """
    from appliance.config.version import VERSION
    from appliance.control import update_offer
    from appliance.control.installation import installed
    from appliance.units import show_bytes, show_instant

    home = home_of(context)
    offer = update_offer.look(home, settings_of(home), place)
    found = {
        "installed": VERSION,
        "version": offer.manifest.version,
        "serial": offer.manifest.serial,
        "expires_at": show_instant(offer.manifest.expires),
        "bytes": offer.manifest.size,
        "signed_by": offer.signed_by,
        "new": offer.release != installed().current,
    }
    if as_json:
        document(found)
    elif found["new"]:
        say(f"Version {found['version']} can be installed: {show_bytes(offer.manifest.size)}. Installed is {VERSION}.")
        say("To install it: appliance update apply")
    else:
        say(f"Version {found['version']} is installed already.")


@app.command()
def apply(
    context: typer.Context,
    place: Place = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="HH:MM", help="Wait for this time of day on this machine, then begin.")
    ] = None,
    attached: Attached = False,
    as_json: Json = False,
) -> None:
    """Install a release. If the new version does not do, the old one is back with all data, and the exit code is 5.

    Staff are told to come back in a few minutes while it is exchanged. It goes on when this terminal is closed.

    Example: appliance update apply /media/usb/release --at 02:00
    """
    from appliance.control import update_offer, update_recovery, updating
    from appliance.control.installation import installed

    home = home_of(context)
    settings = settings_of(home)
    update_recovery.refuse_if_unfinished(home)
    offer = update_offer.look(home, settings, place)
    if offer.release == installed().current:
        _told(None, as_json, f"Version {offer.manifest.version} is installed already: nothing to do.")
        return
    wait = seconds_until(at, datetime.now().astimezone()) if at else 0.0
    if not attached:
        words = [*([str(place)] if place else []), *(["--at", at] if at else [])]
        _elsewhere(home, "apply", *words, goes_on=bool(at))
        if not at:
            _told(_last(home), as_json, f"Version {offer.manifest.version} runs.")
        return
    if wait:
        say(f"Waiting until {at}, to update to version {offer.manifest.version}")
        time.sleep(wait)
        # Hours later it may be another release, or none that is still valid.
        offer = update_offer.look(home, settings, place)
    _told(updating.apply(home, settings, offer, say), as_json, f"Version {offer.manifest.version} runs.")


@app.command()
def rollback(
    context: typer.Context,
    attached: Attached = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Json = False,
) -> None:
    """Go back to the version before the last update.

    Where the two keep their data in another form, the data of then come back too, and what was done since is put
    aside; `--dry-run` says which.

    Example: appliance update rollback --dry-run
    """
    from appliance.control import update_recovery, updating

    home = home_of(context)
    settings = settings_of(home)
    update_recovery.refuse_if_unfinished(home)
    back = updating.way_back(home)
    confirm(yes, dry_run, "update rollback")
    if dry_run:
        if as_json:
            document({"to": back.record.from_version, "data": back.data})
            return
        say(f"Version {back.record.from_version} would run again.")
        say(f"All data would be as of {_when(back.record.ended)}." if back.data else "All data would stay.")
        return
    if attached:
        updating.roll_back(home, settings, back, say)
    else:
        _elsewhere(home, "rollback", "--yes")
    _told(_last(home), as_json, f"Version {back.record.from_version} runs again.")


@app.command()
def history(context: typer.Context, as_json: Json = False) -> None:
    """List all updates, the oldest first: how each ended, and why.

    Example: appliance update history
    """
    from appliance.update import journal

    found = [_shown(one) for one in journal.history(home_of(context))]
    if as_json:
        document(found)
        return
    columns = ["began_at", "kind", "from", "to", "outcome", "closed_seconds", "reason"]
    table([name.replace("_", " ") for name in columns], [[one[name] for name in columns] for one in found])
    if not found:
        say("There was no update yet.")


@app.command("new-key")
def new_key(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the secret half goes; keep it off this machine.")],
) -> None:
    """Make a key to sign releases with, and show its public half, for `keys` under [update] in the settings.

    Example: appliance update new-key /media/usb/anna.key
    """
    from appliance.update import signing

    write(f"{signing.new_key(file)}\n")


@app.command()
def make(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What belongs to the release.")],
    version: Annotated[str, typer.Option(help="Its version.")],
    serial: Annotated[int, typer.Option(min=1, help="Its number: higher than that of each release before.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How many days it may be installed.")] = 90,
    from_min: Annotated[str, typer.Option(help="The oldest version that can be updated to it.")] = "0.1.0",
) -> None:
    """Make a release of a folder: list its files. Then let two people sign it.

    Example: appliance update make release --version 0.2.0 --serial 2
    """
    from appliance.units import now_us, show_bytes
    from appliance.update import signing

    made = signing.make(folder, version, serial, now_us() + days * 86_400_000_000, from_min)
    say(f"{len(made.files)} files, {show_bytes(made.size)}. To sign it: appliance update sign {folder} KEY-FILE")


@app.command()
def sign(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The release.")],
    key_file: Annotated[Path, typer.Argument(metavar="KEY-FILE", help="Your key, as `new-key` made it.")],
) -> None:
    """Add your signature to a release.

    Example: appliance update sign release /media/usb/anna.key
    """
    from appliance.update import signing

    say(f"Signed by {signing.sign(folder, key_file)}")


def seconds_until(clock: str, now: datetime) -> float:
    """How long it is until a time of day, as `02:00`. Raises wrong-use."""
    from appliance.errors import ApplianceError

    try:
        at = datetime.strptime(clock, "%H:%M")
    except ValueError as error:
        raise ApplianceError("wrong-use", f"{clock} is no time of day.", "Give it as 02:00.") from error
    then = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    if then <= now:
        then += timedelta(days=1)
    return (then - now).total_seconds()


def _elsewhere(home: Home, *words: str, goes_on: bool = False) -> None:
    """Have it done by a process that outlives this one, and pass on what it says; or leave it waiting."""
    from appliance.errors import ApplianceError
    from appliance.store.privilege import as_root

    log = home.logs / "update.log"
    command = [sys.executable, "-P", "-m", "appliance", "--config", str(home.config), "--state", str(home.state)]
    home.prepare()
    follower = Follower([log])
    with log.open("ab") as opened:
        child = subprocess.Popen(
            [*command, "update", *words, "--attached"],
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=opened,
            start_new_session=True,
            preexec_fn=as_root,
        )
    if goes_on:
        say(f"It begins by itself (process {child.pid}), unless this machine is switched off: appliance logs update")
        return
    while child.poll() is None:
        _pass_on(follower)
        time.sleep(_FOLLOW_S)
    _pass_on(follower)
    if child.returncode < 0:
        raise ApplianceError("update-not-ready", "The update was cut off.", "Run: appliance up")
    if child.returncode:
        leave(child.returncode)


def _pass_on(follower: Follower) -> None:
    for line in follower.more():
        say(line.text)


def _last(home: Home) -> Record | None:
    from appliance.update import journal

    found = journal.history(home)
    return found[-1] if found else None


def _told(record: Record | None, as_json: bool, words: str) -> None:
    if as_json:
        document(_shown(record) if record else None)
    else:
        say(words)


def _shown(record: Record) -> dict[str, Any]:
    from appliance.units import show_instant

    return {
        "id": record.id,
        "kind": record.kind,
        "from": record.from_version,
        "to": record.to_version,
        "serial": record.serial,
        "began_at": show_instant(record.began),
        "ended_at": show_instant(record.ended),
        "outcome": record.outcome,
        "reason": record.reason or None,
        "last_step": record.steps[-1][0] if record.steps else None,
        "closed_seconds": record.closed_s,
    }


def _when(instant: int) -> str:
    from appliance.units import show_instant

    return f"{(show_instant(instant) or '')[:16].replace('T', ' ')} UTC"
