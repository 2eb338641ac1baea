"""Passkeys on the pages: add one, remove one, sign in with one."""

from __future__ import annotations

import time

from appliance.accounts import passkeys
from appliance.accounts.people_tables import Person
from appliance.audit.actions import Action
from appliance.errors import ApplianceError
from appliance.identity import rp, vouching
from appliance.identity import sign_in as signing_in
from appliance.identity.account import PAGE, TO_SIGN_IN
from appliance.identity.asked import Answer
from appliance.identity.browser import Visit, check_form, form_token, onward, origin_of, sign_in_at
from appliance.identity.own import Own, changing, own_account
from appliance.identity.pages import onward_to
from appliance.identity.services import Services
from appliance.identity.sign_in import SIGN_IN, Refused

ADD = "/account/passkey"
# Who is on the way to the chat, and takes a passkey along: the first owner.
TO_CHAT = "chat"
_LONGEST_NAME = 60


def page(services: Services, visit: Visit) -> Answer:
    """The page that adds one; for whoever has proved a moment ago that it is them."""
    own = own_account(services, visit)
    if own is None:
        return onward_to(TO_SIGN_IN)
    if not rp.id_of(services.issuer):
        return onward_to(PAGE)
    if not own.may_change_factors:
        return onward_to(sign_in_at(_again(visit.argument("then"))))
    return _form(services, visit, own, visit.argument("then"))


def add(services: Services, visit: Visit) -> Answer:
    """Keep the passkey that somebody's browser has made."""
    check_form(visit, services.issuer)
    own, then = own_account(services, visit), visit.field("then")
    if own is None:
        return onward_to(TO_SIGN_IN)
    if not own.may_change_factors:
        return onward_to(sign_in_at(_again(then)))
    name = "".join(one for one in visit.field("name").strip()[:_LONGEST_NAME] if one.isprintable())
    try:
        asked = _asked(services, visit, _purpose(own))
        with changing(services, visit, own) as (acts, person, _):
            answer = visit.field("credential")
            made = passkeys.add(acts.session, person, asked, answer, name or services.say(visit)["passkey_unnamed"])
            services.challenges.take(asked.challenge)
            acts.note(Action.PASSKEY_ADDED, person.login, name=made.name, address=visit.peer)
    except ApplianceError as error:
        if error.code != "sign-in-refused":
            raise
        return _form(services, visit, own, then, services.say(visit)["passkey_none"])
    return onward_to("/" if then == TO_CHAT else PAGE)


def remove(services: Services, visit: Visit) -> Answer:
    """Forget a passkey of somebody's own."""
    check_form(visit, services.issuer)
    own = own_account(services, visit)
    if own is None:
        return onward_to(TO_SIGN_IN)
    if not own.may_change_factors:
        return onward_to(sign_in_at(PAGE))
    with changing(services, visit, own) as (acts, person, _):
        found = passkeys.remove(acts.session, person, visit.field("id"))
        if found is not None:
            acts.note(Action.PASSKEY_REMOVED, person.login, name=found.name, address=visit.peer)
    return onward_to(PAGE)


def sign_in(services: Services, visit: Visit) -> Answer:
    """Sign in whose passkey a browser has; its device has made sure who they are, so no code is asked for.

    Nobody has to wait after wrong ones: they cannot be guessed.
    """
    check_form(visit, services.issuer)
    to = onward(visit.field("to"))
    try:
        asked = _asked(services, visit, SIGN_IN)
        with services.sessions.writing() as session:
            person = passkeys.whose(session, asked, visit.field("credential"))
            # Last: whoever has no passkey must not be able to crowd out what is remembered of those that were taken.
            services.challenges.take(asked.challenge)
    except ApplianceError as error:
        if error.code not in ("sign-in-refused", "suspended"):
            raise
        _refused(services, visit, error.code)
        word = "switched_off" if error.code == "suspended" else "passkey_bad"
        return signing_in.form(services, visit, to, Refused(word))
    if not signing_in.has_pages(person):
        _refused(services, visit, signing_in.NO_PAGES, person)
        return signing_in.form(services, visit, to, Refused("no_pages"))
    with services.sessions.reading() as session:
        is_over = vouching.is_over(services, session, person)
    if is_over:
        # Else a passkey would go on to let in whom the company has switched off.
        _refused(services, visit, "account-not-vouched", person)
        return signing_in.form(services, visit, to, Refused("prove_there"))
    return signing_in.welcome(services, visit, person.id, rp.MEANS, to)


def _asked(services: Services, visit: Visit, purpose: str) -> passkeys.Asked:
    """What the answer in a form must answer to: a challenge that this browser got for this. Raises sign-in-refused."""
    challenge = passkeys.challenge_of(visit.field("credential"))
    services.challenges.check(challenge, purpose, form_token(visit, services.issuer))
    return passkeys.Asked(challenge, rp.id_of(services.issuer), origin_of(services.issuer))


def _purpose(own: Own) -> str:
    return f"add {own.person.id}"


def _refused(services: Services, visit: Visit, code: str, person: Person | None = None) -> None:
    services.refusals.put(visit.network, code, person.login if person else "", time.monotonic())


def _again(then: str) -> str:
    """The address of the page that adds one, on the way to the chat or not."""
    return f"{ADD}?then={TO_CHAT}" if then == TO_CHAT else ADD


def _form(services: Services, visit: Visit, own: Own, then: str, problem: str = "") -> Answer:
    token = form_token(visit, services.issuer)
    with services.sessions.reading() as session:
        known = [one.id for one in passkeys.of(session, own.person)]
    whose = rp.Whose(own.person.id, own.person.email, own.person.name)
    challenge = services.challenges.make(_purpose(own), token)
    company = services.say(visit)["appliance"]
    return services.pages.page(
        "passkey",
        services.language(visit),
        403 if problem else 200,
        origin_of(services.landing) if then == TO_CHAT else "",
        token=token,
        then=TO_CHAT if then == TO_CHAT else "",
        passkey=rp.to_add(services.issuer, challenge, whose, company, known),
        problem=problem,
    )
