"""`appliance groups`: groups of people, which keys and budgets call teams."""

from __future__ import annotations

from typing import Annotated

import typer

from appliance.cli.common import Json, confirm, home_of
from appliance.cli.output import document, say, table

app = typer.Typer(
    help="Groups of people, which keys and budgets call teams.", no_args_is_help=True, rich_markup_mode=None
)

Name = Annotated[str, typer.Argument(metavar="GROUP", help="The group's name.")]
Emails = Annotated[list[str], typer.Argument(metavar="EMAIL...", help="Whom: addresses or logins.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]


@app.command()
def add(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Make a group. Budgets and keys for a team of the same name are its own.

    Example: appliance groups add sales
    """
    from appliance.accounts import groups
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting

    with acting(home_of(context)) as acts:
        made = groups.add(acts.session, name).name
        acts.note(Action.GROUP_ADDED, made)
    if as_json:
        document({"name": made, "people": []})
    else:
        say(f"There is a group '{made}' now. To take somebody in: appliance groups join '{made}' EMAIL")


@app.command()
def remove(
    context: typer.Context, name: Name, yes: Yes = False, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Remove a group; the people in it stay. Budgets and keys for its name stay too.

    Example: appliance groups remove sales --yes
    """
    from appliance.accounts import groups
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting

    with acting(home_of(context)) as acts:
        group = groups.find(acts.session, name)
        found = groups.people_in(acts.session, group)
        shown = {"name": group.name, "people": [person.email for person in found]}
        if dry_run or not yes:
            say(f"{_people(len(found))} would no longer be in the group '{group.name}'.")
        confirm(yes, dry_run, f"groups remove '{group.name}'")
        if not dry_run:
            groups.remove(acts.session, group)
            acts.note(Action.GROUP_REMOVED, group.name, people=len(found))
    if as_json:
        document(shown)
    elif not dry_run:
        say(f"The group '{shown['name']}' is removed. In it: {_people(len(found))}.")


@app.command()
def join(
    context: typer.Context,
    name: Name,
    emails: Emails,
    counts: Annotated[
        bool, typer.Option("--counts", help="Their use counts for this group from now on, not for their first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take people into a group. What they use counts for the first group that they are in.

    Example: appliance groups join sales anna@example.com ben@example.com
    """
    from appliance.accounts import groups, people
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting

    with acting(home_of(context)) as acts:
        group = groups.find(acts.session, name)
        found = [people.find(acts.session, email) for email in emails]
        for person in found:
            groups.join(acts.session, group, person, counts=counts)
            acts.note(Action.GROUP_JOINED, person.login, group=group.name, team=person.team)
        shown = {"name": group.name, "people": [person.email for person in groups.people_in(acts.session, group)]}
        lines = [_joined(person.name, group.name, person.team) for person in found]
    if as_json:
        document(shown)
    else:
        say("\n".join(lines))


@app.command()
def leave(context: typer.Context, name: Name, emails: Emails, as_json: Json = False) -> None:
    """Take people out of a group. If their use counted for it, it counts for no team until you say for which.

    Example: appliance groups leave sales anna@example.com
    """
    from appliance.accounts import groups, people
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting

    with acting(home_of(context)) as acts:
        group = groups.find(acts.session, name)
        found = [people.find(acts.session, email) for email in emails]
        for person in found:
            groups.leave(acts.session, group, person)
            acts.note(Action.GROUP_LEFT, person.login, group=group.name, team=person.team)
        shown = {"name": group.name, "people": [person.email for person in groups.people_in(acts.session, group)]}
        lines = [f"{person.name} is no longer in the group '{group.name}'{_for(person.team)}." for person in found]
    if as_json:
        document(shown)
    else:
        say("\n".join(lines))


@app.command(name="list")
def list_groups(context: typer.Context, as_json: Json = False) -> None:
    """List the groups, how many people are in each, and which are shut out.

    Example: appliance groups list
    """
    from appliance.accounts import groups, suspension
    from appliance.store.sessions import session
    from appliance.units import show_instant

    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        out = {one.name for one in suspension.listed(opened) if one.kind == suspension.TEAM}
        found = [
            (group.name, show_instant(group.created_at), [one.email for one in groups.people_in(opened, group)])
            for group in groups.listed(opened)
        ]
    if as_json:
        document(
            [
                {"name": name, "people": people, "suspended": name in out, "created_at": created_at}
                for name, created_at, people in found
            ]
        )
    else:
        rows = [(name, len(people), "shut out" if name in out else "") for name, _, people in found]
        table(["group", "people", "state"], rows)


def _joined(name: str, group: str, team: str) -> str:
    return f"{name} is in the group '{group}'; what they use counts for '{team}'."


def _for(team: str) -> str:
    return f"; what they use counts for '{team}'" if team else "; what they use counts for no team"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
