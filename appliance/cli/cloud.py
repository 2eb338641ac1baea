"""`appliance cloud`: models of the cloud, off unless the settings say otherwise."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import document, say, table, write

app = typer.Typer(help="Models of the cloud: off by default.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def off(context: typer.Context) -> None:
    """Send nothing to the cloud from this moment on, and end the answers that are under way.

    It works at once, without a restart, whatever the settings say, and until `appliance cloud on`.

    Example: appliance cloud off
    """
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.control import cloud
    from appliance.errors import ApplianceError

    home = home_of(context)
    home.prepare()
    # First of all: the switch works also where nothing can be put on record.
    changed = cloud.turn_off(home)
    say("Nothing goes to the cloud any more." if changed else "The cloud was switched off already.")
    try:
        with acting(home) as acts:
            acts.note(Action.CLOUD_FORBIDDEN, "the cloud")
    except ApplianceError as error:
        say(f"  It is not on the audit log: {error.sentence} {error.hint}")


@app.command()
def on(context: typer.Context) -> None:
    """End what `appliance cloud off` began: requests may go to the cloud again, where the settings allow it.

    Example: appliance cloud on
    """
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.control import cloud

    home = home_of(context)
    settings = settings_of(home).cloud
    home.prepare()
    with acting(home) as acts:
        acts.note(Action.CLOUD_ALLOWED, "the cloud")
    changed = cloud.turn_on(home)
    say("The cloud is no longer switched off." if changed else "The cloud was not switched off.")
    if not settings.enabled:
        say(f"  The settings do not enable it, so nothing is sent: [cloud] in {home.config}.")


@app.command()
def status(context: typer.Context, as_json: Json = False) -> None:
    """Show whether anything may leave the box, to whom, for which teams, and what this month has cost.

    Example: appliance cloud status
    """
    from appliance.control import cloud
    from appliance.store.sessions import session

    home = home_of(context)
    settings = settings_of(home).cloud
    home.prepare()
    with session(home.database) as opened:
        found = cloud.status(home, settings, opened)
    if as_json:
        document(found)
    else:
        _show(found)


@app.command()
def key(
    context: typer.Context,
    provider: Annotated[str, typer.Argument(help="The provider's name in the settings.")],
) -> None:
    """Keep a provider's key in a file that only the appliance can read.

    The key is asked for without showing it, or read from standard input; it never stands on a command line.

    Example: appliance cloud key openai
    """
    import getpass
    import sys

    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.control import cloud

    home = home_of(context)
    settings = settings_of(home).cloud
    home.prepare()
    typed = sys.stdin.isatty()
    given = getpass.getpass("Key: ").encode() if typed else sys.stdin.buffer.read(1 << 16)
    cloud.keep_key(home, settings, provider, given)
    with acting(home) as acts:
        acts.note(Action.SETTINGS_CHANGED, f"the key for {provider}", after="a new key")
    say(f"The key of '{provider}' is kept. It holds from the next request on.")


def _show(found: dict[str, Any]) -> None:
    from appliance.units import show_money

    if not found["enabled"]:
        write("Off: the settings do not enable it. Nothing leaves the box.\n")
    elif found["switched_off"]:
        write("Off: switched off with `appliance cloud off`. Nothing leaves the box.\n")
    else:
        write(f"On, for {_teams(found['teams'])}\n")
    if found["local_only"]:
        write(f"  never leaves the box: {', '.join(found['local_only'])}\n")
    if found["monthly_cap"] is not None:
        write(f"  spent in {found['month']}: {show_money(found['spent'])} of {show_money(found['monthly_cap'])}\n")
    rows = [
        (one["name"], one["kind"], one["url"], one["key"], show_money(one["spent"]), ", ".join(one["models"]))
        for one in found["providers"]
    ]
    table(("provider", "kind", "url", "key", "spent", "models"), rows)


def _teams(teams: list[str]) -> str:
    if "*" in teams:
        return "everybody"
    return f"the teams {', '.join(teams)}" if teams else "nobody: no team has consent"
