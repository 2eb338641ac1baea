"""Signing in with e-mail address and password, and with a code where the account asks for one.

Whoever is not let in is told the same in the same time, whether there is such an account or not.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from sqlmodel import Session

from appliance.accounts import people, second_factor, sign_on
from appliance.accounts import sign_in as accounts
from appliance.accounts.api_keys import digest
from appliance.accounts.people_tables import Person
from appliance.accounts.sign_on_tables import Client
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.identity import rp
from appliance.identity.asked import Answer
from appliance.identity.browser import (
    DEVICE,
    SESSION,
    Visit,
    check_form,
    form_token,
    keep,
    kept,
    onward,
    origin_of,
    sign_in_at,
)
from appliance.identity.pages import onward_to
from appliance.identity.services import Services
from appliance.identity.throttle import Attempt
from appliance.policy import names
from appliance.policy.roles import Permission, Verdict, decide

# What is told to whoever knows the password, or could not be asked for it: none of it counts as a wrong try.
_TOLD = {
    "suspended": "switched_off",
    "directory-unreachable": "directory_down",
    "directory-refused": "directory_down",
    "account-not-vouched": "directory_stranger",
}
# Reasons of a refusal that are no failure of an act.
THROTTLED: Final = "throttled"
NO_PAGES: Final = "no-pages"
# What a challenge is for with which somebody signs in by a passkey.
SIGN_IN: Final = "sign-in"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why somebody is not let in: the words of a page by their name, what stands in them, and the HTTP status."""

    word: str
    status: int = 403
    minutes: int = 0
    label: str = ""


def page(services: Services, visit: Visit) -> Answer:
    """The form."""
    to = onward(visit.argument("to"))
    return form(services, visit, to, email=_hint(services, visit, to))


def sign_in(services: Services, visit: Visit) -> Answer:
    """Take the form, or the one for the code that follows it."""
    check_form(visit, services.issuer)
    to, half = onward(visit.field("to")), visit.field("half")
    if half:
        taken = services.halves.take(half)
        if taken is None:
            return onward_to(sign_in_at(to))
        return _with_code(services, visit, *taken, half, to)
    email = _as_stored(visit.field("email"))
    found = _by_password(services, visit, email)
    if isinstance(found, Refused):
        return form(services, visit, to, found, email)
    if found.totp:
        return ask_for_code(services, visit, found.id, to)
    return welcome(services, visit, found.id, "pwd", to)


def _as_stored(typed: str) -> str:
    """An address in the one form of all its spellings, lest each have a count of wrong tries of its own."""
    try:
        return names.email(typed)
    except ApplianceError:
        return typed.strip().casefold()[:254]


def ask_for_code(services: Services, visit: Visit, person_id: str, to: str, means: str = "pwd") -> Answer:
    """The form for the code, to somebody whose first proof was right; or take the code that came with it."""
    half = services.halves.begin(person_id, means)
    if visit.field("code"):
        return _with_code(services, visit, person_id, means, half, to)
    return _code_form(services, visit, half, to)


def _by_password(services: Services, visit: Visit, email: str) -> Person | Refused:
    """Whose password it is. Meant to take long, the same time for everybody."""
    attempt = attempt_of(services, visit, email)
    wait_s = services.waits(attempt)
    if wait_s:
        refused(services, visit, email, THROTTLED)
        return Refused("wait", 429, math.ceil(wait_s / 60))
    try:
        person, outdated = _proved(services, email, visit.field("password"))
    except ApplianceError as error:
        if error.code in _TOLD:
            refused(services, visit, email, error.code)
            return Refused(_TOLD[error.code], error.kind.http or 403)
        services.was_wrong(attempt)
        refused(services, visit, email, error.code)
        return Refused("wrong")
    services.was_right(attempt)
    if outdated:
        with services.sessions.writing() as session:
            accounts.keep(session, person, outdated)
    if not has_pages(person):
        refused(services, visit, email, NO_PAGES)
        return Refused("no_pages")
    return person


def has_pages(person: Person) -> bool:
    """Whether somebody may be signed in with a browser at all."""
    return decide(person.role, Permission.OWN_ACCOUNT, proved=True) is Verdict.ALLOWED


def refused(services: Services, visit: Visit, email: str, code: str) -> None:
    """Put a refusal on record, before it is answered. Raises audit-unavailable.

    The account is looked up whether there is one or not, lest the time of the answer tell.
    """
    with services.sessions.reading() as session:
        person = people.by_email(session, email)
    note("sign-in-refused", "", network=visit.network, code=code)
    services.refusals.put(visit.network, code, person.login if person else "", time.monotonic())


def _proved(services: Services, email: str, password: str) -> tuple[Person, str]:
    """Whose password it is, here or in the directory, and a new hash where theirs is outdated."""
    with services.sessions.reading() as session:
        try:
            return accounts.with_password(session, email, password)
        except ApplianceError as error:
            if error.code != "sign-in-refused" or services.directory is None:
                raise
            known = people.by_email(session, email)
    # It is only there for those who have a directory.
    from appliance.identity.directory_sign_in import by_directory

    return by_directory(services, email, password, has_password=known is not None and bool(known.password)), ""


def _with_code(services: Services, visit: Visit, person_id: str, means: str, half: str, to: str) -> Answer:
    """The second proof: a code of the authenticator, or one for when it is lost."""
    with services.sessions.reading() as session:
        email = session.get_one(Person, person_id).email
    attempt = attempt_of(services, visit, email)
    wait_s = services.waits(attempt)
    if wait_s:
        refused(services, visit, email, THROTTLED)
        return _code_form(services, visit, half, to, Refused("wait", 429, math.ceil(wait_s / 60)))
    try:
        with services.sessions.writing() as session:
            second_factor.check(session, session.get_one(Person, person_id), visit.field("code"), time.time())
    except ApplianceError as error:
        services.was_wrong(attempt)
        refused(services, visit, email, error.code)
        return _code_form(services, visit, half, to, Refused("code_wrong"))
    services.halves.end(half)
    services.was_right(attempt)
    return welcome(services, visit, person_id, f"{means} otp", to)


def welcome(services: Services, visit: Visit, person_id: str, means: str, to: str) -> Answer:
    """They are who they say: from now on their browser is signed in. Whoever was before, in it, is not any more.

    Raises suspended for whoever was shut out since they typed their password.
    """
    with services.sessions.reading() as session:
        person = session.get_one(Person, person_id)
    before, device = kept(visit, services.issuer, SESSION), kept(visit, services.issuer, DEVICE)
    with acting(services.home, person.login) as acts:
        people.must_not_be_shut_out(acts.session, acts.session.get_one(Person, person_id))
        found = sign_on.current(acts.session, before) if before else None
        if found is not None and found[1].id == person_id:
            made, secret = sign_on.renew(acts.session, found[0], means)
        else:
            if found is not None:
                sign_on.end(acts.session, found[0], "another-signed-in")
            made, secret = sign_on.begin(acts.session, person_id, means)
        device = sign_on.know_device(acts.session, person_id, device or None)
        acts.note(Action.SIGNED_IN, made.id, means=means, address=visit.peer)
    services.wake()
    keep(visit, services.issuer, SESSION, secret)
    keep(visit, services.issuer, DEVICE, device)
    return onward_to(to or "/")


def attempt_of(services: Services, visit: Visit, email: str) -> Attempt:
    """Who tries."""
    device = kept(visit, services.issuer, DEVICE)
    if not device:
        return Attempt(visit.network, email)
    with services.sessions.reading() as session:
        known = sign_on.is_known_device(session, email, device)
    return Attempt(visit.network, email, digest(device) if known else "")


def _hint(services: Services, visit: Visit, to: str) -> str:
    """The address that somebody will sign in with: as the program says, or theirs who are to prove it once more."""
    if not is_again(to):
        return _asked_for(to).get("login_hint", "")[:254]
    with services.sessions.reading() as session:
        found = services.signed_in(session, visit)
    return "" if found is None else found[1].email


def is_again(to: str) -> bool:
    """Whether what comes next wants a proof of a moment ago."""
    return to.startswith("/account")


def onward_origin(session: Session, to: str) -> tuple[str, str]:
    """The name of the program that waits, and its origin, to which the form may lead on; empty where none does."""
    asked = _asked_for(to)
    client = session.get(Client, asked.get("client_id", ""))
    if client is None:
        return "", ""
    redirect = asked.get("redirect_uri", "")
    return client.name, origin_of(redirect) if redirect in client.redirects.split() else ""


def _asked_for(to: str) -> dict[str, str]:
    """The fields of the address that comes next."""
    return {name: values[0] for name, values in parse_qs(urlsplit(to).query).items()}


def form(services: Services, visit: Visit, to: str, refused: Refused | None = None, email: str = "") -> Answer:
    """The page on which people sign in."""
    with services.sessions.reading() as session:
        program, origin = onward_origin(session, to)
    origin = origin if to else origin_of(services.landing)
    values = {"to": to, "email": email, "program": program, "again": is_again(to) and bool(email)}
    challenge = services.challenges.make(SIGN_IN, form_token(visit, services.issuer))
    values["passkey"] = rp.to_sign_in(services.issuer, challenge)
    values["others"] = [
        (f"/sign-in/with/{one.terms.name}?to={quote(to, safe='')}", one.terms.label)
        for one in services.upstreams.values()
    ]
    return _shown(services, visit, "sign_in", refused, origin, **values)


def _code_form(services: Services, visit: Visit, half: str, to: str, refused: Refused | None = None) -> Answer:
    with services.sessions.reading() as session:
        _, origin = onward_origin(session, to)
    origin = origin if to else origin_of(services.landing)
    return _shown(services, visit, "code", refused, origin, to=to, half=half)


def _shown(services: Services, visit: Visit, name: str, refused: Refused | None, origin: str, **values: Any) -> Answer:
    problem, status = "", 200
    if refused is not None:
        problem = services.say(visit)[refused.word].format(minutes=refused.minutes, label=refused.label)
        status = refused.status
    token = form_token(visit, services.issuer)
    return services.pages.page(name, services.language(visit), status, origin, problem=problem, token=token, **values)
