"""`appliance keys`: API keys for people and programs."""

from __future__ import annotations

from typing import Annotated

import typer

from appliance.cli.common import Json, home_of
from appliance.cli.output import document, say, table, write

app = typer.Typer(help="API keys for people and programs.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def create(
    context: typer.Context,
    owner: Annotated[str, typer.Option(help="Who will use it, and is charged for it.")],
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once: only its fingerprint is stored.

    Example: appliance keys create --owner anna
    """
    from appliance.accounts import keys
    from appliance.store.sessions import session

    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        key, secret = keys.create(opened, owner)
        shown = {"id": key.id, "owner": key.owner, "key": secret}
    if as_json:
        document(shown)
        return
    write(secret + "\n")
    say(f"This is {shown['owner']}'s key ({shown['id']}). Keep it now: it is not shown again.")


@app.command(name="list")
def list_keys(context: typer.Context, as_json: Json = False) -> None:
    """List the keys, without the keys themselves.

    Example: appliance keys list
    """
    from appliance.accounts import keys
    from appliance.store.sessions import session
    from appliance.units import show_instant

    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        found = [
            {
                "id": key.id,
                "owner": key.owner,
                "created_at": show_instant(key.created_at),
                "revoked_at": show_instant(key.revoked_at),
            }
            for key in keys.listed(opened)
        ]
    if as_json:
        document(found)
        return
    table(["id", "owner", "created", "revoked"], [list(key.values()) for key in found])


@app.command()
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Json = False,
) -> None:
    """Make a key useless, from the next request on and for good.

    Example: appliance keys revoke key-0123456789ab --yes
    """
    from appliance.accounts import keys
    from appliance.errors import ApplianceError
    from appliance.store.sessions import session
    from appliance.units import show_instant

    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        key = keys.find(opened, key_id)
        if dry_run or not yes:
            say(f"Programs that use {key.owner}'s key {key.id} would be refused, for good.")
        if not yes and not dry_run:
            raise ApplianceError(
                "needs-yes", "Nothing was changed.", f"To go ahead: appliance keys revoke {key_id} --yes"
            )
        if not dry_run:
            keys.revoke(key)
        shown = {"id": key.id, "owner": key.owner, "revoked_at": show_instant(key.revoked_at)}
    if as_json:
        document(shown)
    elif not dry_run:
        say(f"{shown['owner']}'s key {shown['id']} is refused from now on.")
