"""Where people sign in from: `appliance sign-in`, and what `appliance users` says and ends of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, home_of, settings_of
from appliance.cli.output import document, say, table
from appliance.cli.people_words import shown

if TYPE_CHECKING:
    from appliance.config.paths import Home
    from appliance.policy.directory import Directory
    from appliance.policy.federation import Upstream

app = typer.Typer(help="Other places that people sign in with.", no_args_is_help=True, rich_markup_mode=None)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="Whom: their address or login.")]


@app.command()
def check(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Its name in the settings; all of them without one.")] = None,
    as_json: Json = False,
) -> None:
    """Ask the other providers of sign-on what they know of us, and say what is wrong with the settings.

    Example: appliance sign-in check
    """
    from appliance.control.federation import directory_of, upstreams_of
    from appliance.errors import ApplianceError

    home = home_of(context)
    settings = settings_of(home).identity
    known: dict[str, Upstream | Directory] = {one.name: one for one in upstreams_of(settings)}
    directory = directory_of(settings)
    if directory is not None:
        known["directory"] = directory
    if name is not None and name not in known:
        raise ApplianceError(
            "provider-not-found",
            f"There is no provider '{name}' in the settings.",
            f"There are: {', '.join(known) or 'none'}.",
        )
    found = [_checked(home, known[one]) for one in known if name in (None, one)]
    if as_json:
        document(found)
        return
    for one in found:
        back = f" People come back to {one['redirect']}" if one["redirect"] else ""
        say(f"{one['name']}: all is well.{back}")
    if not found:
        say("The settings name no other provider.")


def show(context: typer.Context, email: Email, as_json: Json = False) -> None:
    """Show somebody's account: role, groups and who gave them, and where they sign in from.

    Example: appliance users show anna@example.com
    """
    from sqlmodel import select

    from appliance.accounts import people
    from appliance.accounts.people_tables import Membership
    from appliance.store.sessions import session

    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        person = people.find(opened, email)
        one = next(one for one in people.listed(opened) if one.person.id == person.id)
        member = opened.exec(select(Membership).where(Membership.person_id == person.id))
        found = {**shown(one), "given_by": {row.group_name: row.given_by or None for row in member}}
    if as_json:
        document(found)
        return
    given = [f"{group} (by {giver})" if giver else group for group, giver in sorted(found["given_by"].items())]
    rows = [
        ["name", found["name"]],
        ["address", found["email"]],
        ["login", found["login"]],
        ["role", found["role"]],
        ["groups", ", ".join(given)],
        ["state", found["state"]],
        ["signs in with", ", ".join([*(["a password here"] if person.password else []), *found["sources"]])],
        ["second proof", ", ".join(found["second_factors"])],
    ]
    table(["what", ""], [[one, value or "-"] for one, value in rows])


def unlink(context: typer.Context, email: Email, as_json: Json = False) -> None:
    """Forget somebody's account at another provider, and the groups that it gave: their address may link a new one.

    Example: appliance users unlink anna@example.com
    """
    from appliance.accounts import federation, people
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.cli.people_words import plain

    with acting(home_of(context)) as acts:
        person = people.find(acts.session, email)
        count = federation.unlink(acts.session, person)
        acts.note(Action.PERSON_UNLINKED, person.login, accounts=count)
        found = {**plain(person), "accounts": count}
    if as_json:
        document(found)
    else:
        say(f"{found['name']} is linked to no other account any more; there {'was' if count == 1 else 'were'} {count}.")


def _checked(home: Home, terms: Upstream | Directory) -> dict[str, Any]:
    """A provider or the directory, which answers as it must. Raises what is wrong."""
    from appliance.accounts import groups
    from appliance.identity.directory import DirectoryClient
    from appliance.identity.upstream import UpstreamClient
    from appliance.policy.directory import SOURCE, Directory
    from appliance.store.sessions import session

    if isinstance(terms, Directory):
        DirectoryClient(terms).check()
        found = {"name": SOURCE, "issuer": terms.url, "redirect": None, "ok": True}
    else:
        redirect = terms.redirect(settings_of(home).identity.issuer)
        UpstreamClient(terms).check(redirect)
        found = {"name": terms.name, "issuer": terms.issuer, "redirect": redirect, "ok": True}
    home.prepare()
    with session(home.database) as opened:
        for group in terms.groups.values():
            groups.find(opened, group)
    return found
