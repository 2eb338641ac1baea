"""What Authlib calls endpoints: letting a device ask, taking tokens back, telling of them, signing out."""

from __future__ import annotations

from typing import Any, Final

from authlib.oauth2.rfc6749 import UnauthorizedClientError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint
from authlib.oidc.rpinitiated import EndSessionEndpoint, EndSessionRequest
from joserfc.jwk import KeySet
from sqlmodel import Session

from appliance.accounts import sign_on
from appliance.accounts.access_tokens import ALGORITHM, AUDIENCE
from appliance.accounts.api_keys import digest
from appliance.accounts.sign_on_tables import DeviceGrant, SignOn
from appliance.identity import tokens
from appliance.identity.asked import Asked
from appliance.identity.grants import METHODS, CodeGrant, DeviceGranted, IdTokens, Pkce, RefreshGrant, ServiceGrant
from appliance.identity.keys import KeyRing
from appliance.identity.models import ClientOf, Held
from appliance.identity.provider import Provider
from appliance.units import now_us

DEVICE: Final = "device_authorization"
REVOCATION: Final = "revocation"
INTROSPECTION: Final = "introspection"
END_SESSION: Final = "end_session"


def make_provider(session: Session, ring: KeyRing, issuer: str) -> Provider:
    """The provider for one request, which is one transaction."""
    provider = Provider(session, ring, issuer)
    tells = IdTokens(provider)
    provider.register_grant(CodeGrant, [Pkce(required=True), tells])
    provider.register_grant(RefreshGrant, [tells])
    provider.register_grant(DeviceGranted, [tells])
    provider.register_grant(ServiceGrant)
    for endpoint in (DeviceEndpoint, Revocation, Introspection, EndSession):
        provider.register_endpoint(endpoint)
    return provider


class DeviceEndpoint(DeviceAuthorizationEndpoint):
    """A device asks to be let in (RFC 8628)."""

    CLIENT_AUTH_METHODS = METHODS
    EXPIRES_IN = tokens.DEVICE_S
    INTERVAL = 5
    server: Provider

    def authenticate_client(self, request: Asked) -> ClientOf:
        """Its client, which must be one for devices."""
        client: ClientOf = super().authenticate_client(request)
        if not client.check_grant_type(DEVICE_CODE_GRANT_TYPE):
            raise UnauthorizedClientError("The client is not for devices.")
        return client

    def get_verification_uri(self) -> str:
        """The page on which people type its code."""
        return f"{self.server.issuer}/device"

    def save_device_credential(self, client_id: str, scope: str | None, data: dict[str, Any]) -> None:
        """Keep what it asked for."""
        now = now_us()
        self.server.session.add(
            DeviceGrant(
                digest=digest(data["device_code"]),
                user_code=data["user_code"],
                client_id=client_id,
                scope=scope or "",
                state="asked",
                sign_on_id="",
                interval=self.INTERVAL,
                looked_at=now,
                expires_at=now + self.EXPIRES_IN * 1_000_000,
            )
        )
        self.server.session.flush()


class Revocation(RevocationEndpoint):
    """A client gives a token back (RFC 7009): all of its family with it."""

    CLIENT_AUTH_METHODS = METHODS
    server: Provider

    def query_token(self, token_string: str, token_type_hint: str | None) -> Held | None:
        """What it is."""
        return self.server.held(token_string)

    def revoke_token(self, token: Held, request: Asked) -> None:
        """End its family."""
        self.server.end_family(token.family.id, "revoked")


class Introspection(IntrospectionEndpoint):
    """A client asks whether a token of its own is still good (RFC 7662)."""

    CLIENT_AUTH_METHODS = METHODS[:2]
    server: Provider

    def query_token(self, token_string: str, token_type_hint: str | None) -> Held | None:
        """What it is."""
        return self.server.held(token_string)

    def check_permission(self, token: Held, client: ClientOf, request: Asked) -> bool:
        """Of others' tokens nothing is told."""
        return token.check_client(client)

    def introspect_token(self, token: Held) -> dict[str, Any]:
        """What is told of a good one."""
        who = None if token.user is None else token.user.who
        return {
            "active": True,
            "iss": self.server.issuer,
            "aud": AUDIENCE,
            "sub": token.family.client_id if who is None else who.sub,
            "client_id": token.family.client_id,
            "scope": token.get_scope(),
            "token_type": "Bearer" if token.kind == "access_token" else token.kind,
            "exp": token.expires_at,
            **({} if who is None else {"username": who.login}),
            **tokens.access_of(who),
        }


class EndSession(EndSessionEndpoint):
    """A client asks to sign somebody out (OpenID Connect RP-Initiated Logout)."""

    server: Provider

    def get_server_jwks(self) -> KeySet:
        """Our own keys."""
        return self.server.ring.public()

    def get_algorithms(self) -> list[str]:
        """The one."""
        return [ALGORITHM]

    def end_session(self, end_session_request: EndSessionRequest) -> None:
        """End the sign-on that the client's id token is of."""
        claims = end_session_request.id_token_claims or {}
        if claims.get("iss") != self.server.issuer:
            return
        found = self.server.session.get(SignOn, str(claims.get("sid", "")))
        if found is not None and found.person_id == claims.get("sub"):
            sign_on.end(self.server.session, found, "signed-out")
