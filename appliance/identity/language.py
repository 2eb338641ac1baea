"""The language that somebody chooses for the pages: their browser keeps it, and it goes before its own wish."""

from __future__ import annotations

from appliance.identity.account import PAGE, TO_SIGN_IN
from appliance.identity.asked import Answer
from appliance.identity.browser import LANGUAGE, Visit, check_form, keep, onward, sign_in_at
from appliance.identity.pages import onward_to
from appliance.identity.services import Services


def choose(services: Services, visit: Visit) -> Answer:
    """Keep the language, and show the page again on which it was chosen."""
    check_form(visit, services.issuer)
    wish = visit.field("language")
    if wish in services.pages.words:
        keep(visit, services.issuer, LANGUAGE, wish)
    if visit.field("page") == "account":
        return onward_to(PAGE)
    to = onward(visit.field("to"))
    return onward_to(sign_in_at(to) if to else TO_SIGN_IN)
