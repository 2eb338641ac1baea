"""Signing out: here, and in all programs that the same sign-on was used for."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oidc.rpinitiated import EndSessionRequest

from appliance.accounts import sign_on
from appliance.accounts.sign_on_tables import SignOn
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.errors import ApplianceError
from appliance.identity import account
from appliance.identity.asked import Answer
from appliance.identity.browser import SESSION, Visit, check_form, form_token, keep, kept
from appliance.identity.endpoints import END_SESSION
from appliance.identity.pages import onward_to
from appliance.identity.services import Services


def home(services: Services, visit: Visit) -> Answer:
    """Where people go who come for nothing else; whoever is not signed in comes to sign in."""
    if services.landing == account.PAGE or not _here(services, visit):
        return account.page(services, visit)
    return onward_to(services.landing)


def sign_out(services: Services, visit: Visit) -> Answer:
    """A program asks to sign somebody out, or somebody does it by themselves.

    With an id token of ours it is done at once, without one only after a yes. Back to the program goes only who came
    with such a token, and only to an address that the program has registered.
    """
    if visit.field("decision"):
        check_form(visit, services.issuer)
        _end(services, visit, _here(services, visit))
        return _done(services, visit)
    with services.sessions.reading() as session:
        try:
            asked: EndSessionRequest = services.provider(session).validate_endpoint_request(END_SESSION, visit.asked)
        except OAuth2Error as error:
            raise ApplianceError(
                "program-refused", f"{error.description}", "The program must send the id token that it was given."
            ) from error
        claims = asked.id_token_claims or {}
        signed_on = session.get(SignOn, str(claims.get("sid", "")))
    ours = claims.get("iss") == services.issuer
    if not ours or signed_on is None or signed_on.person_id != claims.get("sub"):
        return _ask(services, visit)
    _end(services, visit, signed_on.id)
    return onward_to(asked.redirect_uri) if asked.redirect_uri else _done(services, visit)


def _here(services: Services, visit: Visit) -> str:
    """The id of the sign-on in this browser; empty where there is none."""
    with services.sessions.reading() as session:
        user = services.user(session, visit)
    return "" if user is None else user.sign_on_id


def _end(services: Services, visit: Visit, sign_on_id: str) -> None:
    """End a sign-on, and have its browser forget it."""
    here = _here(services, visit)
    if sign_on_id:
        with services.sessions.reading() as session:
            login = sign_on.login_of(session, sign_on_id)
        with acting(services.home, login) as acts:
            found = acts.session.get(SignOn, sign_on_id)
            if found is not None and found.ended_at is None:
                sign_on.end(acts.session, found, "signed-out")
                acts.note(Action.SIGNED_OUT, sign_on_id)
        services.wake()
    if kept(visit, services.issuer, SESSION) and here in ("", sign_on_id):
        keep(visit, services.issuer, SESSION, "")


def _ask(services: Services, visit: Visit) -> Answer:
    if not _here(services, visit):
        return _done(services, visit)
    return services.pages.page("sign_out", services.language(visit), token=form_token(visit, services.issuer))


def _done(services: Services, visit: Visit) -> Answer:
    say = services.say(visit)
    return services.pages.page(
        "message", services.language(visit), title=say["signed_out"], text=say["signed_out_text"], detail="", again=True
    )
