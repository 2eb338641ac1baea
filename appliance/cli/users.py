"""`appliance users`: people with an account, from the first invitation to their removal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from appliance.cli.common import Json, confirm, home_of, settings_of
from appliance.cli.mailing import hand_over
from appliance.cli.output import document, say, table
from appliance.cli.people_words import counted, facts, keys_in_words, plain, row, shown, welcome

if TYPE_CHECKING:
    from appliance.accounts.people_tables import Person
    from appliance.audit.acts import Acts

app = typer.Typer(help="People: accounts, roles, invitations.", no_args_is_help=True, rich_markup_mode=None)

Email = Annotated[str, typer.Argument(metavar="EMAIL", help="Whom: their address or login.")]
NewEmail = Annotated[str, typer.Argument(metavar="EMAIL", help="Their address.")]
Name = Annotated[str, typer.Option(metavar="NAME", help="Their name; else it is made from the address.")]
Role = Annotated[str, typer.Option(metavar="ROLE", help="owner, admin, auditor, staff or service.")]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="GROUP", help="A group for them; may be repeated. Their use counts for the first."),
]
Login = Annotated[
    str,
    typer.Option(metavar="NAME", help="A short name for keys, budgets and records; else made from the address."),
]
Mail = Annotated[
    bool, typer.Option("--mail/--no-mail", help="Send the link by mail, if there is a mail server; else show it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]
# Most bytes of a password on standard input, and of a list in a file.
_LONGEST_PASSWORD = 1 << 12
_LONGEST_LIST = 1 << 24


@app.command()
def add(
    context: typer.Context,
    email: NewEmail,
    name: Name = "",
    role: Role = "staff",
    group: Groups = None,
    login: Login = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read their first password from standard input.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Give somebody an account. Without a password, send them a link: `appliance users invite`.

    Example: appliance users add anna@example.com --name "Anna Krahl" --group sales
    """
    from appliance.audit.acts import acting

    password = _hashed_password(email, name, login) if password_stdin else ""
    with acting(home_of(context)) as acts:
        person = _add(acts, email, name=name, role=role, into=group or (), login=login, password=password)
        found, lines = plain(person), welcome(acts.session, person)
    if as_json:
        document(found)
    else:
        say("\n".join(lines))


@app.command()
def invite(
    context: typer.Context,
    email: Email,
    name: Name = "",
    role: Role = "staff",
    group: Groups = None,
    login: Login = "",
    mail: Mail = True,
    as_json: Json = False,
) -> None:
    """Make a one-time link with which somebody sets their first password; add them if they have no account yet.

    Example: appliance users invite anna@example.com --name "Anna Krahl" --group sales
    """
    from appliance.accounts import links, people
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.errors import ApplianceError
    from appliance.units import show_instant

    with acting(home_of(context)) as acts:
        person = people.by_email(acts.session, email) if "@" in email else people.find(acts.session, email)
        if person is None:
            person = _add(acts, email, name=name, role=role, into=group or (), login=login)
        elif name or group or login or role != "staff":
            raise ApplianceError(
                "person-exists",
                f"{person.email} has an account already, so nothing but the address can be given.",
                "Leave the options out; `appliance users role` and `appliance groups join` change what there is.",
            )
        elif person.password:
            raise ApplianceError(
                "wrong-use",
                f"{person.name} has a password already.",
                f"If it is lost: appliance users reset {person.email}",
            )
        people.must_not_be_shut_out(acts.session, person)
        link, secret = links.make(acts.session, person, links.INVITE)
        ends = show_instant(link.expires_at)
        acts.note(Action.PERSON_INVITED, person.login, expires_at=ends)
        found = {**plain(person), "link": links.address(_pages(context), secret), "expires_at": ends}
        language = person.language
    hand_over(context, found, links.INVITE, language, mail=mail, as_json=as_json)


@app.command()
def reset(
    context: typer.Context,
    email: Email,
    second_factor: Annotated[
        bool, typer.Option("--second-factor", help="Drop their authenticator, recovery codes and passkeys as well.")
    ] = False,
    now: Annotated[
        bool, typer.Option("--now", help="Their present password ends at once: for one that was stolen.")
    ] = False,
    mail: Mail = True,
    as_json: Json = False,
) -> None:
    """Make a one-time link with which somebody sets a new password. Until then the old one works, unless `--now`.

    Example: appliance users reset anna@example.com
    """
    from appliance.accounts import links, people
    from appliance.accounts import second_factor as factors
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.units import show_instant

    with acting(home_of(context)) as acts:
        person = people.find(acts.session, email)
        people.must_not_be_shut_out(acts.session, person)
        if now:
            people.end_password(acts.session, person)
        if second_factor:
            factors.drop(acts.session, person)
        link, secret = links.make(acts.session, person, links.RESET)
        ends = show_instant(link.expires_at)
        acts.note(Action.PERSON_RESET, person.login, expires_at=ends, now=now, second_factor=second_factor)
        found = {**plain(person), "link": links.address(_pages(context), secret), "expires_at": ends}
        language = person.language
    hand_over(context, found, links.RESET, language, mail=mail, as_json=as_json)


@app.command()
def role(
    context: typer.Context,
    email: Email,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="owner, admin, auditor, staff or service.")],
    as_json: Json = False,
) -> None:
    """Give somebody another role. The last owner who can sign in keeps theirs.

    Example: appliance users role anna@example.com admin
    """
    from appliance.accounts import people
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.policy import roles

    wanted = roles.role(role)
    with acting(home_of(context)) as acts:
        person = people.find(acts.session, email)
        before = str(person.role)
        people.set_role(acts.session, person, wanted)
        acts.note(Action.ROLE_CHANGED, person.login, before=before, after=str(wanted))
        found = plain(person)
    if as_json:
        document(found)
    else:
        say(f"{found['name']} is {wanted} now. {roles.MEANINGS[wanted]}")


@app.command()
def disable(context: typer.Context, email: Email, as_json: Json = False) -> None:
    """Shut somebody out, now: their account and all their API keys, until `appliance users enable`.

    Example: appliance users disable anna@example.com
    """
    from appliance.accounts import people, suspension
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.units import show_instant

    with acting(home_of(context)) as acts:
        person = people.find(acts.session, email)
        at = show_instant(people.disable(acts.session, person).at)
        acts.note(Action.SUSPENDED, person.login, kind="user")
        count = len(suspension.keys_of(acts.session, suspension.USER, person.login))
        found = {**plain(person), "keys": count, "disabled_at": at}
    if as_json:
        document(found)
    else:
        say(
            f"{found['name']} is shut out from now on, with {keys_in_words(count)}.\n"
            f"  To let them in again: appliance users enable {found['email']}"
        )


@app.command()
def enable(context: typer.Context, email: Email, as_json: Json = False) -> None:
    """Let somebody in again who was shut out: their password and keys work as before.

    Example: appliance users enable anna@example.com
    """
    from appliance.accounts import people, suspension
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting

    with acting(home_of(context)) as acts:
        person = people.find(acts.session, email)
        people.enable(acts.session, person)
        acts.note(Action.RESUMED, person.login, kind="user")
        count = len(suspension.keys_of(acts.session, suspension.USER, person.login))
        found = {**plain(person), "keys": count, "disabled_at": None}
        team = person.team if people.shut_out(acts.session, person) else ""
    if as_json:
        document(found)
        return
    say(f"{found['name']} is let in again, with {keys_in_words(count)}.")
    if team:
        say(f"But the team '{team}' is shut out: appliance keys resume --team '{team}'")


@app.command()
def remove(
    context: typer.Context,
    email: Email,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove somebody for good, with what they keep on the chat page. Their use stays on record, under their login.

    Example: appliance users remove anna@example.com --yes
    """
    from appliance.accounts import people, suspension
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.chat.leavers import kept

    home = home_of(context)
    with acting(home) as acts:
        person = people.find(acts.session, email)
        count = len(suspension.keys_of(acts.session, suspension.USER, person.login))
        there = kept(home.chat).get(person.id)
        conversations, documents = (there.conversations, there.documents) if there else (0, 0)
        found = {
            **plain(person), "keys": count, "conversations": conversations, "documents": documents,
            "removed": not dry_run,
        }  # fmt: skip
        theirs = f"{counted(conversations, 'conversation')} and {counted(documents, 'document')}"
        if dry_run or not yes:
            say(f"{person.name}'s account would be gone, and {keys_in_words(count)} revoked, for good.")
            if there:
                say(f"So would {theirs} on the chat page, but for what they have shared.")
        confirm(yes, dry_run, f"users remove {person.email}")
        if not dry_run:
            people.remove(acts.session, person)
            acts.note(Action.PERSON_REMOVED, person.login, role=found["role"], keys=count)
    if as_json:
        document(found)
    elif not dry_run:
        say(f"{found['name']} is removed, and {keys_in_words(count)} revoked. On record stays '{found['login']}'.")
        if there:
            say(f"On the chat page, {theirs} are deleted within a minute, or as soon as it runs.")


@app.command(name="list")
def list_users(context: typer.Context, as_json: Json = False) -> None:
    """List everybody with an account: their role, their groups, and whether they can sign in.

    Example: appliance users list
    """
    from appliance.accounts import people
    from appliance.store.sessions import session

    home = home_of(context)
    home.prepare()
    with session(home.database) as opened:
        listed = people.listed(opened)
        found, rows = [shown(one) for one in listed], [row(one) for one in listed]
    if as_json:
        document(found)
    else:
        table(["address", "login", "role", "groups", "state"], rows)


@app.command(name="import")
def import_users(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A CSV file: email,name,role,groups.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give everybody on a list an account, or nobody if a line is not right: all mistakes are told at once.

    Example: appliance users import people.csv --dry-run
    """
    from appliance.accounts import importing
    from appliance.audit.actions import Action
    from appliance.audit.acts import acting
    from appliance.policy import roster

    entries, faults = roster.read(_content(file))
    home = home_of(context)
    with acting(home) as acts:
        importing.must_be_right((*faults, *importing.faults(acts.session, entries)))
        if not dry_run:
            for entry, person in zip(entries, importing.add_all(acts.session, entries), strict=True):
                acts.note(Action.PERSON_ADDED, person.login, **facts(person, list(entry.groups)))
    if as_json:
        document([{"email": one.email, "name": one.name, "role": one.role, "groups": one.groups} for one in entries])
        return
    count = "1 person" if len(entries) == 1 else f"{len(entries)} people"
    say(f"The list is right: it would give {count} an account." if dry_run else f"An account now: {count}.")
    if entries and not dry_run:
        say(f"  To send somebody a link: appliance users invite {entries[0].email}")


def _add(
    acts: Acts,
    email: str,
    *,
    name: str,
    role: str,
    into: Sequence[str],
    login: str,
    password: str = "",
) -> Person:
    """Give somebody an account, on record."""
    from appliance.accounts import people
    from appliance.audit.actions import Action
    from appliance.policy import roles

    person = people.add(
        acts.session, email, name=name, login=login, role=roles.role(role), into=into, password=password
    )
    acts.note(Action.PERSON_ADDED, person.login, **facts(person, list(into)))
    return person


def _hashed_password(email: str, name: str, login: str) -> str:
    """The password on standard input, as it is stored. Raises password-refused or wrong-use."""
    import getpass
    import sys

    from appliance.accounts import sign_in
    from appliance.errors import ApplianceError
    from appliance.policy import names

    address = names.email(email)
    known = (address, name or names.name_from(address), login or next(names.logins_from(address)))
    if sys.stdin.isatty():
        return sign_in.good(getpass.getpass("Password: "), *known)
    given = sys.stdin.buffer.read(_LONGEST_PASSWORD)
    try:
        return sign_in.good(given.decode().removesuffix("\n").removesuffix("\r"), *known)
    except UnicodeDecodeError:
        raise ApplianceError(
            "wrong-use", "The password on standard input is not UTF-8.", "Send it as UTF-8 text."
        ) from None


def _content(file: Path) -> bytes:
    from appliance.errors import ApplianceError

    try:
        with file.open("rb") as opened:
            found = opened.read(_LONGEST_LIST + 1)
    except OSError as error:
        raise ApplianceError(
            "wrong-use", f"{file} cannot be read: {error.strerror}.", "Give the path of a CSV file."
        ) from error
    if len(found) > _LONGEST_LIST:
        raise ApplianceError("wrong-use", f"{file} is too long for a list of people.", "Divide it into several files.")
    return found


def _pages(context: typer.Context) -> str:
    """The address below which the sign-on pages stand, as people type it; empty where there are none."""
    identity = settings_of(home_of(context)).identity
    return identity.issuer if identity.enabled else ""
