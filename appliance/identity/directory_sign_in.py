"""Signing in with the password of the company's directory, and what ends when somebody is gone there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.accounts import federation, vouching
from appliance.accounts.people_tables import Person
from appliance.audit.acts import acting
from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.identity.directory import DirectoryClient
from appliance.identity.repeating import Repeating
from appliance.identity.services import Services
from appliance.policy.directory import SOURCE

# Who does what is done because the directory says so.
_ACTOR: Final = "directory"


def by_directory(services: Services, email: str, password: str, *, has_password: bool) -> Person:
    """Whoever signs in so; `has_password` says that somebody with this address has one here, which alone counts.

    It takes the same time whether there is such an account or not. Raises sign-in-refused, suspended,
    directory-unreachable, directory-refused or account-not-vouched.
    """
    client = services.directory
    if client is None or not client.terms.takes(email):
        raise _refused()
    if has_password:
        # Their password is none of the directory's business; only the time is to be the same.
        client.pretend(email)
        raise _refused()
    who = client.prove(email, password)
    if who is None:
        raise _refused()
    with acting(services.home, _ACTOR) as acts:
        person = federation.admit(acts, who)
        if person.password:
            raise _refused()
        acts.session.refresh(person)
        acts.session.expunge(person)
    services.wake()
    return person


def look_after(services: Services, client: DirectoryClient, stopped: Callable[[], bool] = lambda: False) -> int:
    """Shut out whoever is gone or switched off in the directory, and let in who is back; how many that were.

    Raises directory-unreachable or directory-refused: then nobody is taken for gone. `stopped` ends it early.
    """
    with services.sessions.reading() as session:
        known = {one.subject: one.shut_out_at for one in federation.of_source(session, SOURCE)}
    if not known:
        return 0
    found = client.still_there(subject for subject in known if not stopped())
    with services.sessions.writing() as session:
        vouching.seen(session, SOURCE, [subject for subject, is_there in found.items() if is_there])
    changed = [subject for subject, is_there in found.items() if is_there != (known[subject] is None)]
    count = sum(_follow(services, subject, is_there=found[subject]) for subject in changed)
    if count:
        services.wake()
    return count


def _follow(services: Services, subject: str, *, is_there: bool) -> bool:
    try:
        with acting(services.home, _ACTOR) as acts:
            return federation.follow(acts, SOURCE, subject, is_there=is_there)
    except ApplianceError as error:
        if error.code != "last-owner":
            raise
        note("last-owner-kept", "", why="gone-from-directory")
        return False


def watch(services: Services, client: DirectoryClient) -> Repeating:
    """Who looks after them, at once and then every so many minutes; not begun yet."""

    def look(stopped: Callable[[], bool]) -> None:
        look_after(services, client, stopped)

    return Repeating("directory", "directory-not-checked", client.terms.check_minutes * 60, look)


def _refused() -> ApplianceError:
    return ApplianceError(
        "sign-in-refused", "Address or password is not right.", "Try again, or ask your admin for a new password."
    )
