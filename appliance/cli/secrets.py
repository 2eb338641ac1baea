"""`appliance secrets`: what the box trusts itself by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import document, say, table

if TYPE_CHECKING:
    from appliance.config.paths import Home
    from appliance.config.settings import Settings

app = typer.Typer(help="The secrets that the box keeps for itself.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_secrets(context: typer.Context, as_json: Json = False) -> None:
    """List the secrets that the box keeps for itself, what each is for, and what replacing it means for people.

    Example: appliance secrets list
    """
    from appliance.control.secrets import SECRETS, is_there

    home, settings = home_of(context), settings_of(home_of(context))
    found = [
        {
            "name": one.name,
            "there": is_there(home, settings, one.name),
            "meaning": one.meaning,
            "effect": one.effect or None,
            "refused": one.refused or None,
        }
        for one in SECRETS
    ]
    if as_json:
        document(found)
        return
    table(
        ["name", "there", "what it is for, and what replacing it does"],
        [(one["name"], "yes" if one["there"] else "no", f"{one['meaning']} {_does(one)}") for one in found],
    )


def _does(one: dict[str, Any]) -> str:
    return one["effect"] or f"It is not replaced: {one['refused'][:1].lower()}{one['refused'][1:]}"


@app.command()
def rotate(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(help="Which one, as `secrets list` shows it; without one, all that can be.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replace a secret by a new one while everybody goes on working. What would shut people out is refused.

    Keys of people and programs are another matter: `appliance keys rotate`.

    Example: appliance secrets rotate chat-page
    """
    from appliance.control import secrets

    home, settings = home_of(context), settings_of(home_of(context))
    wanted = [secrets.find(name)] if name else [one for one in secrets.SECRETS if not one.refused]
    there = [one for one in wanted if secrets.is_there(home, settings, one.name)]
    home.prepare()
    for one in there:
        _rotate(home, settings, one.name)
        if not as_json:
            say(f"Replaced: {one.name}. {one.effect}")
    if as_json:
        document({"replaced": [one.name for one in there]})
    elif not there:
        say("There is no such secret on this box yet, so there is nothing to replace.")


def _rotate(home: Home, settings: Settings, name: str) -> None:
    from appliance.cli import clients
    from appliance.control import secrets

    if name == secrets.LOCAL:
        secrets.rotate_local_key(home)
    elif name == secrets.SIGNING:
        clients.next_key(home)
    elif name == secrets.CHAT:
        secrets.rotate_chat_page(home, settings)
    else:
        secrets.rotate_leaf(home, settings)
