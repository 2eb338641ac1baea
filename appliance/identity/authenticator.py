"""The pages on which people set up an authenticator app, remove it, and get new recovery codes."""

from __future__ import annotations

import re
import time
from typing import Final

from markupsafe import Markup

from appliance.accounts import second_factor
from appliance.audit.actions import Action
from appliance.errors import ApplianceError
from appliance.identity import qr
from appliance.identity.account import PAGE, TO_SIGN_IN
from appliance.identity.asked import Answer
from appliance.identity.browser import Visit, check_form, form_token, sign_in_at
from appliance.identity.own import Own, changing, own_account
from appliance.identity.pages import onward_to
from appliance.identity.services import Services
from appliance.policy import totp

SET_UP: Final = "/account/authenticator"
# The secret is the person's own, so the form may carry it until a code of it has come back.
_SECRET: Final = re.compile(r"[A-Z2-7]{32}")


def page(services: Services, visit: Visit) -> Answer:
    """A new secret, as a QR code and in letters; for whoever has proved a moment ago that it is them."""
    own = own_account(services, visit)
    if own is None:
        return onward_to(TO_SIGN_IN)
    if not own.may_change_factors:
        return onward_to(sign_in_at(SET_UP))
    return _form(services, visit, own, second_factor.new_secret())


def set_up(services: Services, visit: Visit) -> Answer:
    """Take a code of the new secret, and ask for codes from now on; show the recovery codes, this once."""
    check_form(visit, services.issuer)
    own = own_account(services, visit)
    if own is None:
        return onward_to(TO_SIGN_IN)
    secret = visit.field("secret")
    if not own.may_change_factors or not _SECRET.fullmatch(secret):
        return onward_to(sign_in_at(SET_UP))
    try:
        with changing(services, visit, own) as (acts, person, _):
            codes = second_factor.turn_on(acts.session, person, secret, visit.field("code"), time.time())
            acts.note(Action.AUTHENTICATOR_ADDED, person.login, address=visit.peer)
    except ApplianceError as error:
        if error.code != "sign-in-refused":
            raise
        return _form(services, visit, own, secret, services.say(visit)["code_wrong"])
    return _codes(services, visit, codes)


def remove(services: Services, visit: Visit) -> Answer:
    """Ask for no codes any more; the recovery codes go with the authenticator."""
    check_form(visit, services.issuer)
    own = own_account(services, visit)
    if own is None:
        return onward_to(TO_SIGN_IN)
    if not own.may_change_factors:
        return onward_to(sign_in_at(PAGE))
    with changing(services, visit, own) as (acts, person, _):
        if person.totp:
            second_factor.turn_off(acts.session, person)
            acts.note(Action.AUTHENTICATOR_REMOVED, person.login, address=visit.peer)
    return onward_to(PAGE)


def renew_codes(services: Services, visit: Visit) -> Answer:
    """New recovery codes in place of the old ones; shown this once."""
    check_form(visit, services.issuer)
    own = own_account(services, visit)
    if own is None:
        return onward_to(TO_SIGN_IN)
    if not own.may_change_factors:
        return onward_to(sign_in_at(PAGE))
    with changing(services, visit, own) as (acts, person, _):
        codes = second_factor.renew_recovery_codes(acts.session, person) if person.totp else []
        if codes:
            acts.note(Action.RECOVERY_CODES_MADE, person.login, address=visit.peer)
    return _codes(services, visit, codes) if codes else onward_to(PAGE)


def _form(services: Services, visit: Visit, own: Own, secret: str, problem: str = "") -> Answer:
    code = qr.svg(totp.address(secret, own.person.email, services.say(visit)["appliance"]))
    return services.pages.page(
        "authenticator",
        services.language(visit),
        403 if problem else 200,
        token=form_token(visit, services.issuer),
        secret=secret,
        spaced=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        # Made by us out of numbers alone.
        qr=Markup(code),  # noqa: S704
        replaces=bool(own.person.totp),
        problem=problem,
    )


def _codes(services: Services, visit: Visit, codes: list[str]) -> Answer:
    return services.pages.page("recovery_codes", services.language(visit), codes=codes)
