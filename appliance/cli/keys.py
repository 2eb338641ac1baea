"""`appliance keys`: API keys for people and programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from appliance.cli.common import Json, confirm, home_of
from appliance.cli.output import document, say, table, write
from appliance.cli.people_words import keys_in_words

if TYPE_CHECKING:
    from sqlmodel import Session

    from appliance.accounts.keys import Listed
    from appliance.accounts.tables import ApiKey

app = typer.Typer(help="API keys for people and programs.", no_args_is_help=True, rich_markup_mode=None)

Owner = Annotated[str | None, typer.Option(metavar="NAME", help="The owner of the keys.")]
Team = Annotated[str | None, typer.Option(metavar="NAME", help="Or a whole team.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]
Expires = Annotated[
    str | None,
    typer.Option(metavar="WHEN", help="90d, 12h, or the last day on which it works: 2027-01-31 (UTC). Else no end."),
]
# A list is at most this wide on a terminal of 80 columns, with the other columns at their widest.
_WHO = 20


@app.command()
def create(
    context: typer.Context,
    owner: Annotated[str, typer.Option(metavar="NAME", help="Who will use it, and is charged for it.")],
    team: Annotated[str, typer.Option(metavar="NAME", help="The team that it counts for.")] = "",
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A model it is for; may be repeated. Else all of them.")
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="chat, embeddings, models, ...; may be repeated. Else all of them."),
    ] = None,
    expires: Expires = None,
    address: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK", help="192.168.1.7 or 192.168.1.0/24; may be repeated. Else from everywhere."),
    ] = None,
    priority: Annotated[str, typer.Option(metavar="CLASS", help="chat, api, background or batch.")] = "api",
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once: only its fingerprint is stored.

    Example: appliance keys create --owner anna --team sales --model chat --expires 90d
    """
    from appliance.accounts import keys
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.policy import terms
    from appliance.units import now_us

    expires_at = None if expires is None else terms.expiry(expires, now_us())
    home = home_of(context)
    home.prepare()
    with acting(home) as acts:
        key, secret = keys.create(
            acts.session,
            owner,
            team=team,
            models=model or (),
            endpoints=endpoint or (),
            expires_at=expires_at,
            addresses=address or (),
            priority=priority,
        )
        acts.note(Action.KEY_CREATED, key.id, **_facts(key))
        shown = {**_terms(key), "key": secret}
        shut_out = _shut_out(acts.session, key)
    _hand_over(shown, as_json)
    if shut_out and not as_json:
        say(f"It is refused for now: {shut_out} is suspended.")


@app.command(name="list")
def list_keys(context: typer.Context, as_json: Json = False) -> None:
    """List the keys and when each was last used, without the keys themselves.

    Example: appliance keys list
    """
    from appliance.accounts import keys, suspension
    from appliance.store.sessions import session
    from appliance.units import now_us, show_instant

    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        listed = keys.listed(opened)
        found = [_listed(one) for one in listed]
        rows = [_row(one, now_us()) for one in listed]
        suspended = [(one.kind, one.name, show_instant(one.at) or "") for one in suspension.listed(opened)]
    if as_json:
        document(found)
        return
    table(["id", "owner (team)", "state", "last used"], rows)
    for kind, name, since in suspended:
        say(
            f"Suspended since {since[:10]}: {_whose(kind, name)}."
            f" To let them in again: appliance keys resume {_option(kind, name)}"
        )


@app.command()
def rotate(
    context: typer.Context,
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(metavar="TIME", help="How long the old key works on: 7d, 12h, 0s.")] = "7d",
    expires: Expires = None,
    as_json: Json = False,
) -> None:
    """Make a new key in an old one's place: same terms, and for a while both work.

    Example: appliance keys rotate key-0123456789ab --overlap 7d
    """
    from appliance.accounts import keys
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.policy import terms
    from appliance.units import now_us, show_instant

    overlap_s = terms.overlap(overlap)
    expires_at = None if expires is None else terms.expiry(expires, now_us())
    home = home_of(context)
    home.prepare()
    with acting(home) as acts:
        old = keys.find(acts.session, key_id)
        fresh, secret = keys.rotate(acts.session, old, overlap_s, expires_at)
        ends = show_instant(old.expires_at)
        acts.note(Action.KEY_ROTATED, old.id, owner=old.owner, successor=fresh.id, expires_at=ends)
        shown = {**_terms(fresh), "key": secret, "replaces": old.id, "old_expires_at": ends}
    _hand_over(shown, as_json)
    if not as_json:
        say(f"The old key {key_id} works until {_minute(ends)}: put the new one into the program before.")


@app.command()
def revoke(
    context: typer.Context, key_id: KeyId, yes: Yes = False, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Make a key useless, from the next request on and for good.

    Example: appliance keys revoke key-0123456789ab --yes
    """
    from appliance.accounts import keys
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.units import show_instant

    home = home_of(context)
    home.prepare()
    with acting(home) as acts:
        key = keys.find(acts.session, key_id)
        if dry_run or not yes:
            say(f"Programs that use {key.owner}'s key {key.id} would be refused, for good.")
        confirm(yes, dry_run, f"keys revoke {key_id}")
        if not dry_run:
            keys.revoke(acts.session, key)
            acts.note(Action.KEY_REVOKED, key.id, owner=key.owner, team=key.team)
        shown = {"id": key.id, "owner": key.owner, "revoked_at": show_instant(key.revoked_at)}
    if as_json:
        document(shown)
    elif not dry_run:
        say(f"{shown['owner']}'s key {shown['id']} is refused from now on.")


@app.command()
def suspend(
    context: typer.Context,
    owner: Owner = None,
    team: Team = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Shut out an owner or a team for now: all their keys are refused from the next request on.

    Example: appliance keys suspend --owner anna --yes
    """
    from appliance.accounts import people, suspension
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.control.local_key import OWNER
    from appliance.units import show_instant

    kind, name = _whom(owner, team, "suspend")
    home = home_of(context)
    home.prepare()
    with acting(home) as acts:
        count = len(suspension.keys_of(acts.session, kind, name))
        if not count and not people.is_known(acts.session, kind, name):
            say(f"Mind that no key belongs to {_whose(kind, name)}; see the names with `appliance keys list`.")
        if dry_run or not yes:
            say(f"{keys_in_words(count)} of {_whose(kind, name)} would be refused, until they are resumed.")
        if kind == "user" and name == OWNER:
            say(f"Mind that `appliance chat` on this machine asks as {OWNER}, and would be refused as well.")
        confirm(yes, dry_run, f"keys suspend {_option(kind, name)}")
        at = None
        if not dry_run:
            at = show_instant(suspension.suspend(acts.session, kind, name).at)
            acts.note(Action.SUSPENDED, name, kind=kind)
    if as_json:
        document({"kind": kind, "name": name, "keys": count, "suspended_at": at})
    elif not dry_run:
        say(
            f"From now on {_whose(kind, name)} is shut out ({keys_in_words(count)}).\n"
            f"  To let them in again: appliance keys resume {_option(kind, name)}"
        )


@app.command()
def resume(context: typer.Context, owner: Owner = None, team: Team = None, as_json: Json = False) -> None:
    """Let a suspended owner or team in again, from the next request on.

    Example: appliance keys resume --owner anna
    """
    from appliance.accounts import suspension
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting

    kind, name = _whom(owner, team, "resume")
    home = home_of(context)
    home.prepare()
    with acting(home) as acts:
        suspension.resume(acts.session, kind, name)
        acts.note(Action.RESUMED, name, kind=kind)
        count = len(suspension.keys_of(acts.session, kind, name))
    if as_json:
        document({"kind": kind, "name": name, "keys": count, "suspended_at": None})
    else:
        say(f"From now on {_whose(kind, name)} is let in again ({keys_in_words(count)}).")


def _facts(key: ApiKey) -> dict[str, str | None]:
    """What the audit log keeps of a new key."""
    from appliance.units import show_instant

    return {
        "owner": key.owner,
        "team": key.team,
        "priority": key.priority,
        "models": key.models,
        "endpoints": key.endpoints,
        "addresses": key.addresses,
        "expires_at": show_instant(key.expires_at),
    }


def _hand_over(shown: dict[str, Any], as_json: bool) -> None:
    """Show a new key, this once."""
    if as_json:
        document(shown)
        return
    write(shown["key"] + "\n")
    say(f"This is {shown['owner']}'s key ({shown['id']}). Keep it now: it is not shown again.")
    if shown["expires_at"]:
        say(f"It works until {_minute(shown['expires_at'])}.")


def _terms(key: ApiKey) -> dict[str, Any]:
    """A key without its state, as JSON shows it."""
    from appliance.units import show_instant

    return {
        "id": key.id,
        "owner": key.owner,
        "team": key.team,
        "models": key.models.split(),
        "endpoints": key.endpoints.split(),
        "addresses": key.addresses.split(),
        "priority": key.priority,
        "created_at": show_instant(key.created_at),
        "expires_at": show_instant(key.expires_at),
    }


def _listed(one: Listed) -> dict[str, Any]:
    from appliance.units import show_instant

    return {
        **_terms(one.key),
        "revoked_at": show_instant(one.key.revoked_at),
        "successor": one.key.successor,
        "state": one.state,
        "last_used_at": show_instant(one.used_at),
    }


def _row(one: Listed, now: int) -> list[str]:
    """A key on one line of a terminal."""
    from appliance.accounts.keys import in_words
    from appliance.units import show_duration

    who = f"{one.key.owner} ({one.key.team})" if one.key.team else one.key.owner
    if len(who) > _WHO:
        who = who[: _WHO - 1] + "…"
    ago = max(0, now - (one.used_at or 0)) // 1_000_000
    used = "never" if one.used_at is None else "now" if ago < 1 else show_duration(ago).rpartition(" ")[0]
    return [one.key.id, who, in_words(one, now), used]


def _whom(owner: str | None, team: str | None, command: str) -> tuple[str, str]:
    """Kind and name of whoever is meant. Raises wrong-use unless it is one."""
    from appliance.accounts.suspension import TEAM, USER
    from appliance.errors import ApplianceError

    if owner is not None and team is None:
        return USER, owner
    if team is not None and owner is None:
        return TEAM, team
    raise ApplianceError(
        "wrong-use",
        "Name either one owner or one team.",
        f"Use `appliance keys {command} --owner NAME` or `appliance keys {command} --team NAME`.",
    )


def _shut_out(opened: Session, key: ApiKey) -> str:
    """Which of a key's owner and team is suspended; empty when neither is."""
    from appliance.accounts import suspension

    found = [_whose(one.kind, one.name) for one in suspension.of(opened, key)]
    return " and ".join(found)


def _whose(kind: str, name: str) -> str:
    return name if kind == "user" else f"the team {name}"


def _option(kind: str, name: str) -> str:
    """Whoever is meant, as typed on a command line."""
    import shlex

    return f"{'--owner' if kind == 'user' else '--team'} {shlex.quote(name)}"


def _minute(shown: str | None) -> str:
    """An instant for people: 2027-01-31 10:20 UTC."""
    return f"{(shown or '')[:16].replace('T', ' ')} UTC"
