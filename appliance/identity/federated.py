"""Signing in with an account at another provider: away to it, and back."""

from __future__ import annotations

import time

from appliance.accounts import federation
from appliance.accounts.vouching import FEDERATED as MEANS
from appliance.audit.acts import acting
from appliance.audit.log import note
from appliance.errors import ApplianceError
from appliance.identity import sign_in
from appliance.identity.asked import Answer
from appliance.identity.browser import AWAY, Visit, keep, kept, onward
from appliance.identity.pages import onward_to
from appliance.identity.services import Services
from appliance.identity.upstream import UpstreamClient
from appliance.policy.federation import Vouched

_WORDS = {
    "provider-refused": "provider_refused",
    "provider-unreachable": "provider_down",
    "provider-secret-bad": "provider_down",
    "account-not-vouched": "provider_stranger",
    "sign-in-expired": "provider_again",
    "suspended": "switched_off",
}


def away(services: Services, visit: Visit) -> Answer:
    """Send a browser to another provider, to sign in there."""
    upstream = _upstream(services, visit)
    to = onward(visit.argument("to"))
    journey, cookie = services.journeys.begin(upstream.terms.name, to, again=sign_in.is_again(to))
    try:
        address = upstream.away(journey, upstream.terms.redirect(services.issuer))
    except ApplianceError as error:
        return _failed(services, visit, upstream, error, to)
    keep(visit, services.issuer, AWAY, cookie)
    return onward_to(address)


def back(services: Services, visit: Visit) -> Answer:
    """Take a browser that comes back from another provider; then they are signed in."""
    upstream, to = _upstream(services, visit), ""
    cookie = kept(visit, services.issuer, AWAY)
    keep(visit, services.issuer, AWAY, "")
    try:
        journey = services.journeys.end(cookie, upstream.terms.name, visit.argument("state"))
        if journey is None:
            raise ApplianceError(
                "sign-in-expired",
                "The browser that comes back is not one that went away, or it took too long.",
                "Open the sign-in page and begin again.",
            )
        to = journey.to
        who = upstream.returned(visit.asked.payload.datalist, journey, upstream.terms.redirect(services.issuer))
        person_id, login, has_pages, has_code = _admit(services, upstream, who)
    except ApplianceError as error:
        return _failed(services, visit, upstream, error, to)
    services.wake()
    if not has_pages:
        services.refusals.put(visit.network, sign_in.NO_PAGES, login, time.monotonic())
        return sign_in.form(services, visit, to, sign_in.Refused("no_pages"))
    if has_code:
        return sign_in.ask_for_code(services, visit, person_id, to, MEANS)
    return sign_in.welcome(services, visit, person_id, MEANS, to)


def _admit(services: Services, upstream: UpstreamClient, who: Vouched) -> tuple[str, str, bool, bool]:
    """Who it is here: id, login, whether they may have pages, and whether their authenticator's code is asked for."""
    with acting(services.home, f"provider:{upstream.terms.name}") as acts:
        person = federation.admit(acts, who)
        return person.id, person.login, sign_in.has_pages(person), bool(person.totp)


def _failed(services: Services, visit: Visit, upstream: UpstreamClient, error: ApplianceError, to: str) -> Answer:
    """Back to the form, which says so; the log says why. Any failure that is not the provider's goes on.

    Raises audit-unavailable.
    """
    word = _WORDS.get(error.code)
    if word is None:
        raise error
    name = upstream.terms.name
    note("sign-in-refused", "", network=visit.network, provider=name, code=error.code, why=error.sentence)
    services.refusals.put(visit.network, error.code, "", time.monotonic())
    why = sign_in.Refused(word, error.kind.http or 403, label=upstream.terms.label)
    return sign_in.form(services, visit, to, why)


def _upstream(services: Services, visit: Visit) -> UpstreamClient:
    found = services.upstreams.get(visit.asked.uri.rpartition("/")[2])
    if found is None:
        raise ApplianceError("route-not-found", "There is no such provider.", "Open the sign-in page.")
    return found
