"""The page on which people look after their own account: who they are, where they are signed in, their password."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from sqlmodel import Session

from appliance.accounts import links, passkeys, passwords, second_factor, sign_on
from appliance.accounts import sign_in as accounts
from appliance.accounts.sign_on_tables import SignOn
from appliance.audit.actions import Action
from appliance.identity import rp
from appliance.identity.asked import Answer
from appliance.identity.browser import DEVICE, Visit, check_form, form_token, keep, kept, origin_of
from appliance.identity.own import Own, changing, own_account
from appliance.identity.pages import onward_to
from appliance.identity.passwords import wrong_with
from appliance.identity.services import Services
from appliance.identity.throttle import Attempt
from appliance.policy.passwords import SHORTEST
from appliance.units import show_instant

PAGE: Final = "/account"
TO_SIGN_IN: Final = "/sign-in"
# How somebody proved who they are, in the words of the page.
_MEANS: Final = {
    "pwd": "by_password", "pwd otp": "by_code", rp.MEANS: "by_passkey", "fed": "by_company", "fed otp": "by_company",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A browser in which somebody is signed in: since when, by what in words, and whether it is this one."""

    since: str
    means: str
    here: bool


def page(services: Services, visit: Visit) -> Answer:
    """Somebody's own account; whoever is not signed in comes to sign in."""
    own = own_account(services, visit)
    return onward_to(TO_SIGN_IN) if own is None else shown(services, visit, own)


def change_password(services: Services, visit: Visit) -> Answer:
    """Take a new password from somebody who knows the old one; they are signed out everywhere else."""
    check_form(visit, services.issuer)
    own = own_account(services, visit)
    if own is None:
        return onward_to(TO_SIGN_IN)
    person, say = own.person, services.say(visit)
    # Whoever finds a browser signed in might guess the password there.
    attempt = Attempt(visit.network, "", f"password {person.id}")
    wait_s = services.waits(attempt)
    if wait_s:
        words = say["wait"].format(minutes=math.ceil(wait_s / 60))
        return shown(services, visit, own, problem=words, status=429)
    if not passwords.matches(person.password, visit.field("old")):
        services.was_wrong(attempt)
        return shown(services, visit, own, problem=say["old_wrong"], status=403)
    new, known = visit.field("password"), (person.email, person.name, person.login)
    problem = wrong_with(say, new, visit.field("again"), known)
    if problem:
        return shown(services, visit, own, problem=problem, status=403)
    services.was_right(attempt)
    hashed = accounts.good(new, *known)
    with changing(services, visit, own) as (acts, now, here):
        if now.password != person.password:
            return shown(services, visit, own, problem=say["old_wrong"], status=403)
        accounts.set_password(now, hashed)
        links.void(acts.session, now)
        sign_on.end_person(acts.session, now.id, "password-changed", but=here.id)
        sign_on.forget_devices(acts.session, now.id)
        device = sign_on.know_device(acts.session, now.id, kept(visit, services.issuer, DEVICE) or None)
        acts.note(Action.PASSWORD_CHANGED, now.login, address=visit.peer)
    keep(visit, services.issuer, DEVICE, device)
    return shown(services, visit, own, done=say["password_changed"])


def sign_out_others(services: Services, visit: Visit) -> Answer:
    """Sign somebody out everywhere but in this browser, programs and devices there too."""
    check_form(visit, services.issuer)
    own = own_account(services, visit)
    if own is None:
        return onward_to(TO_SIGN_IN)
    with changing(services, visit, own) as (acts, person, here):
        if sign_on.end_person(acts.session, person.id, "signed-out", but=here.id):
            acts.note(Action.SIGNED_OUT, "all other places")
    return shown(services, visit, own, done=services.say(visit)["others_ended"])


def shown(
    services: Services, visit: Visit, own: Own, *, problem: str = "", done: str = "", status: int = 200
) -> Answer:
    """The page; `problem` stands where the password is changed, and `done` on top."""
    say = services.say(visit)
    with services.sessions.reading() as session:
        values = _state(session, own, say)
    return services.pages.page(
        "account",
        services.language(visit),
        status,
        token=form_token(visit, services.issuer),
        person=own.person.name,
        email=own.person.email,
        least=SHORTEST,
        problem=problem,
        done=done,
        # Where people chat, if that is not this page.
        chat=services.landing if origin_of(services.landing) else "",
        has_password=bool(own.person.password),
        has_authenticator=bool(own.person.totp),
        can_have_passkeys=bool(rp.id_of(services.issuer)),
        **values,
    )


def _state(session: Session, own: Own, say: dict[str, str]) -> dict[str, Any]:
    """What the page tells of somebody's sign-ons and proofs."""
    keys = passkeys.of(session, own.person)
    return {
        "places": [_place(one, own, say) for one in sign_on.alive_of(session, own.person.id)],
        "programs": sign_on.programs_of(session, own.person.id),
        "codes_left": second_factor.recovery_codes_left(session, own.person),
        "passkeys": [{"id": one.id, "name": one.name, "since": _day(one.created_at)} for one in keys],
    }


def _place(one: SignOn, own: Own, say: dict[str, str]) -> Place:
    return Place(_minute(one.began_at), say[_MEANS.get(one.means, "by_password")], one.id == own.sign_on.id)


def _minute(at_us: int) -> str:
    return f"{(show_instant(at_us) or '')[:16].replace('T', ' ')} UTC"


def _day(at_us: int) -> str:
    return (show_instant(at_us) or "")[:10]
