"""`appliance clients`: programs that people sign in to with their account here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, confirm, home_of, settings_of
from appliance.cli.output import document, say, table, write

if TYPE_CHECKING:
    from appliance.accounts.sign_on_tables import Client
    from appliance.config.paths import Home
    from appliance.identity.keys import KeyRing

app = typer.Typer(help="Programs that people sign in to.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="The program's name, which people see when they sign in.")]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    redirect: Annotated[
        list[str] | None,
        typer.Option(metavar="URI", help="Where it has people sent back to, exactly; may be repeated."),
    ] = None,
    logout_redirect: Annotated[
        list[str] | None, typer.Option(metavar="URI", help="The same after signing out; may be repeated.")
    ] = None,
    backchannel: Annotated[
        str, typer.Option(metavar="URI", help="Its address that is told when somebody signs out.")
    ] = "",
    device: Annotated[bool, typer.Option("--device", help="It signs people in by a code, without a browser.")] = False,
    service: Annotated[bool, typer.Option("--service", help="It asks as itself, for nobody.")] = False,
    public: Annotated[bool, typer.Option("--public", help="It can keep no secret: an app, or a page alone.")] = False,
    as_json: Json = False,
) -> None:
    """Register a program and show its id and secret, the secret this once.

    Example: appliance clients add Wiki --redirect https://wiki.example.com/oidc/callback
    """
    from appliance.accounts import clients
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting

    home = home_of(context)
    issuer = settings_of(home).identity.issuer
    flows = [flow for flow, wanted in ((clients.DEVICE, device), (clients.SERVICE, service)) if wanted]
    with acting(home) as acts:
        client, secret = clients.add(
            acts.session,
            name,
            redirects=redirect or (),
            logout_redirects=logout_redirect or (),
            backchannel=backchannel,
            flows=flows,
            public=public,
        )
        acts.note(Action.CLIENT_ADDED, client.id, name=client.name, flows=client.flows, redirects=client.redirects)
        shown = _terms(client) | {"secret": secret or None, "issuer": issuer}
    if as_json:
        document(shown)
        return
    write(f"issuer  {issuer}\nid      {shown['id']}\n")
    if secret:
        write(f"secret  {secret}\n")
        say("Keep the secret now: it is not shown again.")


@app.command(name="list")
def list_clients(context: typer.Context, as_json: Json = False) -> None:
    """List the programs that people can sign in to.

    Example: appliance clients list
    """
    from appliance.accounts import clients
    from appliance.store.sessions import session

    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        found = [_terms(client) for client in clients.listed(opened)]
    if as_json:
        document(found)
        return
    rows = [[one["id"], one["name"], " ".join(one["flows"]), " ".join(one["redirects"])] for one in found]
    table(["id", "name", "signs in by", "sends people back to"], rows)


@app.command()
def remove(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a program: nobody signs in to it any more, and its tokens end.

    Example: appliance clients remove Wiki --yes
    """
    from appliance.accounts import clients
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting

    home = home_of(context)
    with acting(home) as acts:
        client = clients.find(acts.session, name)
        shown = _terms(client)
        confirm(yes, dry_run, f"clients remove {client.id}")
        ended = clients.signed_in(acts.session, client)
        if not dry_run:
            clients.remove(acts.session, client)
            acts.note(Action.CLIENT_REMOVED, client.id, name=client.name)
    if as_json:
        document(shown | {"removed": not dry_run, "ended": ended})
    else:
        say(f"{'Would remove' if dry_run else 'Removed'} {shown['name']}; {ended} sign-ins to it end.")


@app.command(name="rotate-keys")
def rotate_keys(context: typer.Context, as_json: Json = False) -> None:
    """Sign tokens with the next key from now on. Nobody notices: the old key still proves what it has signed.

    Example: appliance clients rotate-keys
    """
    before, after = next_key(home_of(context))
    if as_json:
        document({"before": before, "now": after.kid, "published": [one["kid"] for one in after.document()["keys"]]})
    else:
        say(f"Tokens are signed with the key {after.kid} from now on.")


def next_key(home: Home) -> tuple[str, KeyRing]:
    """Sign with the next key from now on; the id of the one before, and the keys as they are now."""
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.identity import keys

    home.prepare()
    before = keys.KeyRing(keys.read(home)).kid
    after = keys.KeyRing(keys.rotate(home))
    with acting(home) as acts:
        acts.note(Action.SIGNING_KEY_CHANGED, after.kid, before=before)
    return before, after


def _terms(client: Client) -> dict[str, Any]:
    """A client as JSON shows it, without its secret."""
    from appliance.units import show_instant

    return {
        "id": client.id,
        "name": client.name,
        "public": not client.digest,
        "flows": client.flows.split(),
        "redirects": client.redirects.split(),
        "logout_redirects": client.logout_redirects.split(),
        "backchannel": client.backchannel or None,
        "created_at": show_instant(client.created_at),
    }
