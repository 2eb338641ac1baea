"""The addresses of the protocol: what programs ask, and where browsers pass through on their way back to a program."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import OAuth2Error
from sqlmodel import Session

from appliance.accounts.access_tokens import ALGORITHM
from appliance.accounts.sign_on_tables import SignOn
from appliance.errors import ApplianceError
from appliance.identity import tokens
from appliance.identity.asked import Answer, answer
from appliance.identity.browser import Visit, sign_in_at
from appliance.identity.endpoints import DEVICE, INTROSPECTION, REVOCATION
from appliance.identity.grants import METHODS
from appliance.identity.models import Held, User
from appliance.identity.pages import onward_to
from appliance.identity.provider import NO_STORE, Provider, one_of_each, refused
from appliance.identity.services import Services
from appliance.units import now_us

_JSON = ("Content-Type", "application/json")
_FOR_AN_HOUR = ("Cache-Control", "public, max-age=3600")


def discovery(services: Services, visit: Visit) -> Answer:
    """What this provider can do, and where (OpenID Connect Discovery 1.0)."""
    at = services.issuer
    return answer(200, about(at, at), [_JSON, _FOR_AN_HOUR])


def discovery_inside(services: Services, visit: Visit) -> Answer:
    """The same for a program on this machine: what it asks itself it asks here, with neither name nor certificate."""
    return answer(200, about(services.issuer, services.inside), [_JSON, _FOR_AN_HOUR])


def about(at: str, asked_at: str) -> dict[str, Any]:
    """The document of an issuer: browsers are sent to `at`, programs ask at `asked_at`."""
    return {
        "issuer": at,
        "authorization_endpoint": f"{at}/authorize",
        "token_endpoint": f"{asked_at}/token",
        "userinfo_endpoint": f"{asked_at}/userinfo",
        "jwks_uri": f"{asked_at}/jwks",
        "revocation_endpoint": f"{asked_at}/revoke",
        "introspection_endpoint": f"{asked_at}/introspect",
        "device_authorization_endpoint": f"{asked_at}/device-authorization",
        "end_session_endpoint": f"{at}/sign-out",
        "scopes_supported": list(tokens.SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_methods_supported": METHODS[:2],
        "code_challenge_methods_supported": ["S256"],
        "claims_supported": [
            "sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "amr", "sid",
            "name", "preferred_username", "email", "email_verified", "locale", "roles", "groups",
        ],
        "ui_locales_supported": ["de", "en"],
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }  # fmt: skip


def jwks(services: Services, visit: Visit) -> Answer:
    """The public keys. Not for long: whoever meets an unknown key asks again."""
    return answer(200, services.keys.ring().document(), [_JSON, ("Cache-Control", "public, max-age=300")])


def token(services: Services, visit: Visit) -> Answer:
    """Tokens for a code, a refresh token, a device code, or for the program itself."""
    return _endpoint(services, visit, lambda provider: provider.create_token_response(visit.asked))


def revoke(services: Services, visit: Visit) -> Answer:
    """Take a token back, and all that came of the same sign-in to that program."""
    return _endpoint(services, visit, lambda provider: provider.create_endpoint_response(REVOCATION, visit.asked))


def introspect(services: Services, visit: Visit) -> Answer:
    """Whether a token of the program's own is still good, and whose it is."""
    return _endpoint(services, visit, lambda provider: provider.create_endpoint_response(INTROSPECTION, visit.asked))


def device_authorization(services: Services, visit: Visit) -> Answer:
    """A device asks to be let in, and is told the code that it shows to people."""
    return _endpoint(services, visit, lambda provider: provider.create_endpoint_response(DEVICE, visit.asked))


def userinfo(services: Services, visit: Visit) -> Answer:
    """What a program may know of the person whose access token it holds."""
    with services.sessions.reading() as session:
        held = _bearer(services.provider(session), visit)
        if held is None or held.user is None or "openid" not in held.get_scope().split():
            return answer(
                401,
                {"error": "invalid_token"},
                [_JSON, ("WWW-Authenticate", 'Bearer error="invalid_token"'), *NO_STORE],
            )
        return answer(200, tokens.about(held.user.who, held.get_scope()), [_JSON, *NO_STORE])


def authorize(services: Services, visit: Visit) -> Answer:
    """A program sends a browser here to sign somebody in; it goes back with a code, once they are.

    What the program asked for wrongly is told to it, unless it is where to go back to, or who asks.
    """
    asked = visit.asked
    if asked.method == "POST":
        return onward_to(f"/authorize?{urlencode(asked.form)}")
    with services.sessions.writing() as session:
        provider = services.provider(session)
        user = services.user(session, visit)
        try:
            one_of_each(asked)
            if asked.payload.data.get("response_type", "code") != "code":
                # Authlib would repeat the word in its answer, and stumble over what stands in it.
                asked.payload.data["response_type"] = "other"
            grant = provider.get_consent_grant(asked, end_user=user)
        except OAuth2Error as error:
            return _told(provider, error)
        if user is None or grant.prompt in ("login", "select_account") or _is_too_old(session, visit, user):
            again = {name: value for name, value in asked.args.items() if name not in ("prompt", "max_age")}
            return onward_to(sign_in_at(f"/authorize?{urlencode(again)}"))
        said: Answer = provider.create_authorization_response(asked, grant_user=user, grant=grant)
        return provider.with_issuer(said)


def _told(provider: Provider, error: OAuth2Error) -> Answer:
    """An error, to the program if it is known where that is, else to the person."""
    if error.redirect_uri:
        return provider.with_issuer(refused(provider, error))
    raise ApplianceError(
        "program-refused",
        f"{error.get_error_description() or error.error}",
        "See the program's registration with `appliance clients list`.",
    )


def _is_too_old(session: Session, visit: Visit, user: User) -> bool:
    """Whether a program wants the sign-in to be younger than it is (`max_age`, in seconds)."""
    wanted = visit.argument("max_age")
    if not wanted.isdecimal():
        return False
    found = session.get(SignOn, user.sign_on_id)
    return found is None or now_us() - found.began_at > int(wanted[:9]) * 1_000_000


def _endpoint(services: Services, visit: Visit, ask: Any) -> Answer:
    """One question of a program, as one transaction; what it had to end is told to all afterwards."""
    with services.sessions.writing() as session:
        provider = services.provider(session)
        try:
            one_of_each(visit.asked)
        except OAuth2Error as error:
            return refused(provider, error)
        said: Answer = ask(provider)
    services.ended(provider)
    return said


def _bearer(provider: Provider, visit: Visit) -> Held | None:
    scheme, _, said = visit.asked.headers.get("Authorization", "").partition(" ")
    held = provider.held(said.strip()) if scheme.lower() == "bearer" else None
    good = held is not None and held.kind == "access_token" and not (held.is_expired() or held.is_revoked())
    return held if good else None
