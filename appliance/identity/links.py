"""One-time links: how somebody who was invited, or has forgotten their password, chooses one.

Opening a link uses nothing up, since mail programs open links by themselves; choosing the password does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlmodel import Session

from appliance.accounts import links, people, sign_on
from appliance.accounts import sign_in as accounts
from appliance.accounts.people_tables import Link, Person
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.errors import ApplianceError
from appliance.identity import rp, sign_in
from appliance.identity.asked import Answer
from appliance.identity.browser import Visit, check_form, form_token, origin_of
from appliance.identity.passwords import wrong_with
from appliance.identity.services import Services
from appliance.policy import names
from appliance.policy.passwords import SHORTEST
from appliance.policy.roles import Role

# The page that adds a passkey, and then goes on to the chat.
_PASSKEY: Final = "/account/passkey?then=chat"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What somebody chose: who they are is known, but for the first owner, who says so."""

    email: str
    name: str
    login: str
    password: str


def page(services: Services, visit: Visit) -> Answer:
    """The form for a new password, to whoever has a one-time link."""
    try:
        with services.sessions.reading() as session:
            link, person = links.find(session, _secret(visit))
    except ApplianceError as error:
        return _no_link(services, visit, error)
    return _form(services, visit, link, person)


def choose(services: Services, visit: Visit) -> Answer:
    """Take the new password; then they are signed in, but for whom a second proof is asked."""
    check_form(visit, services.issuer)
    try:
        with services.sessions.reading() as session:
            link, person = links.find(session, _secret(visit))
            chosen = _chosen(visit, person)
            problem = _problem(services, visit, session, chosen, is_new=person is None)
        if problem:
            return _form(services, visit, link, person, problem)
        hashed = accounts.good(chosen.password, chosen.email, chosen.name, chosen.login)
        person = _use(services, visit, chosen, hashed)
    except ApplianceError as error:
        return _no_link(services, visit, error)
    services.wake()
    to = _PASSKEY if visit.field("then") == "passkey" and rp.id_of(services.issuer) else ""
    if person.totp:
        return sign_in.ask_for_code(services, visit, person.id, to)
    return sign_in.welcome(services, visit, person.id, "pwd", to)


def _use(services: Services, visit: Visit, chosen: Chosen, hashed: str) -> Person:
    """Use the link up, for the password; whoever was signed in with an older one is not any more."""
    with acting(services.home, chosen.login or "owner") as acts:
        link, person = links.use(acts.session, _secret(visit))
        if person is None:
            person = people.add(acts.session, chosen.email, name=chosen.name, role=Role.OWNER, password=hashed)
        else:
            accounts.set_password(person, hashed)
            sign_on.end_person(acts.session, person.id, "password-changed")
            sign_on.forget_devices(acts.session, person.id)
        acts.note(Action.LINK_USED, person.login, purpose=link.purpose, address=visit.peer)
        acts.session.flush()
        acts.session.refresh(person)
        acts.session.expunge(person)
    return person


def _chosen(visit: Visit, person: Person | None) -> Chosen:
    password = visit.field("password")
    if person is not None:
        return Chosen(person.email, person.name, person.login, password)
    return Chosen(visit.field("email").strip(), visit.field("name").strip(), "", password)


def _problem(services: Services, visit: Visit, session: Session, chosen: Chosen, *, is_new: bool) -> str:
    """What somebody should choose otherwise, in words; empty when it is good."""
    say = services.say(visit)
    if is_new:
        try:
            address = names.email(chosen.email)
        except ApplianceError:
            return say["email_bad"]
        if people.by_email(session, address) is not None:
            return say["taken"]
    known = (chosen.email, chosen.name, chosen.login)
    return wrong_with(say, chosen.password, visit.field("again"), known)


def _form(services: Services, visit: Visit, link: Link, person: Person | None, problem: str = "") -> Answer:
    say = services.say(visit)
    word = {links.INVITE: "welcome", links.OWNER: "owner"}.get(link.purpose, "new")
    title = say[word if word == "welcome" else f"{word}_title"]
    name, email = (visit.field("name"), visit.field("email")) if person is None else (person.name, person.email)
    return services.pages.page(
        "set_password",
        services.language(visit),
        403 if problem else 200,
        origin_of(services.landing),
        title=title.format(name=name),
        text=say[f"{word}_text"].format(email=email),
        problem=problem,
        token=form_token(visit, services.issuer),
        is_new=person is None,
        can_have_passkeys=person is None and bool(rp.id_of(services.issuer)),
        person=name,
        email=email,
        least=SHORTEST,
    )


def _no_link(services: Services, visit: Visit, error: ApplianceError) -> Answer:
    """The page for a link that does not work; any other failure goes on."""
    if error.code not in ("link-refused", "suspended"):
        raise error
    say = services.say(visit)
    title, text = (say["link_bad"], say["link_bad_text"]) if error.code == "link-refused" else (
        say["problem"], say["switched_off"],
    )  # fmt: skip
    return services.pages.page("message", services.language(visit), 403, title=title, text=text, detail="", again=False)


def _secret(visit: Visit) -> str:
    return str(visit.asked.uri.rpartition("/")[2])
