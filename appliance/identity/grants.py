"""The ways to a token: by code, by refresh token, by device code, or as the program itself."""

from __future__ import annotations

import time
from typing import Any, Final

from authlib.oauth2.rfc6749 import (
    AuthorizationCodeGrant,
    ClientCredentialsGrant,
    InvalidGrantError,
    InvalidRequestError,
    RefreshTokenGrant,
)
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc8628 import DeviceCodeGrant
from authlib.oidc.core.grants import OpenIDCode
from joserfc.jwk import RSAKey

from appliance.accounts.access_tokens import ALGORITHM
from appliance.accounts.api_keys import digest
from appliance.accounts.sign_on_tables import AuthorizationCode, DeviceGrant, RefreshToken, SignOn
from appliance.identity import tokens
from appliance.identity.asked import Asked
from appliance.identity.models import ClientOf, CodeOf, DeviceOf, Held, User
from appliance.identity.provider import Provider
from appliance.units import now_us

METHODS: Final = ["client_secret_basic", "client_secret_post", "none"]


class CodeGrant(AuthorizationCodeGrant):
    """By a code that the browser carries."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    server: Provider

    @staticmethod
    def validate_authorization_redirect_uri(request: Asked, client: ClientOf) -> str:
        """Where to send the browser back to, which must be said. Never tells of an address that is not the client's."""
        said = request.payload.redirect_uri
        if not said or not client.check_redirect_uri(said):
            raise InvalidRequestError("The 'redirect_uri' is not one of this client.")
        return str(said)

    def save_authorization_code(self, code: str, request: Asked) -> None:
        """Keep what a code stands for."""
        data = request.payload.data
        self.server.session.add(
            AuthorizationCode(
                digest=digest(code),
                client_id=request.client.client_id,
                person_id=request.user.person.id,
                sign_on_id=request.user.sign_on_id,
                redirect=request.payload.redirect_uri,
                scope=request.scope,
                nonce=data.get("nonce", ""),
                challenge=data["code_challenge"],
                family_id="",
                expires_at=now_us() + tokens.CODE_S * 1_000_000,
            )
        )
        self.server.session.flush()

    def query_authorization_code(self, code: str, client: ClientOf) -> CodeOf | None:
        """A code that is still good. One that comes twice was stolen from somebody: all that it gave ends."""
        row = self.server.session.get(AuthorizationCode, digest(code))
        if row is None or row.client_id != client.client_id:
            return None
        if row.family_id:
            self.server.end_family(row.family_id, "code-replayed")
            return None
        signed_on = self.server.session.get(SignOn, row.sign_on_id)
        if row.expires_at <= now_us() or signed_on is None or signed_on.ended_at is not None:
            return None
        return CodeOf(row, signed_on.began_at // 1_000_000, signed_on.means)

    def authenticate_user(self, authorization_code: CodeOf) -> User | None:
        """Whose code it is; their family of tokens begins."""
        row = authorization_code.row
        user = User.of(self.server.session, row.person_id, row.sign_on_id)
        if user is None or user.is_shut_out(self.server.session):
            return None
        family = self.server.begin_family(self.request.client.row, user, row.sign_on_id, row.scope, tokens.FAMILY_S)
        row.family_id = family.id
        return user

    def delete_authorization_code(self, authorization_code: CodeOf) -> None:
        """It is kept until it is over, so that its second use is noticed."""


class RefreshGrant(RefreshTokenGrant):
    """By a refresh token, which is good once and is followed by another."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True
    server: Provider

    def authenticate_refresh_token(self, refresh_token: str) -> Held | None:
        """A refresh token that is still good. One that comes twice was stolen from somebody: its family ends."""
        row = self.server.session.get(RefreshToken, digest(refresh_token))
        if row is None:
            return None
        if row.used_at is not None:
            self.server.end_family(row.family_id, "token-reused")
            return None
        held = self.server.held(refresh_token)
        return None if held is None or held.is_revoked() or held.is_expired() else held

    def authenticate_user(self, refresh_token: Held) -> User | None:
        """Whose it is."""
        self.server.family = refresh_token.family
        return refresh_token.user

    def revoke_old_credential(self, refresh_token: Held) -> None:
        """The old one is used up."""
        row = self.server.session.get(RefreshToken, digest(self.request.form["refresh_token"]))
        assert row is not None
        row.used_at = now_us()


class DeviceGranted(DeviceCodeGrant):
    """By a device code, once somebody has let the device in on a page."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    server: Provider

    def query_device_credential(self, device_code: str) -> DeviceOf | None:
        """A device that waits."""
        row = self.server.session.get(DeviceGrant, digest(device_code))
        if row is None or row.state == "taken":
            raise InvalidGrantError("The device code is unknown, or was used.")
        return DeviceOf(row)

    def query_user_grant(self, user_code: str) -> tuple[User | None, bool] | None:
        """Who has let it in, or that somebody would not; None while nobody has decided."""
        row = self._row()
        if row.state == "asked":
            return None
        user = User.of(self.server.session, row.person_id)
        allowed = row.state == "allowed" and user is not None and not user.is_shut_out(self.server.session)
        return user, allowed

    def should_slow_down(self, credential: DeviceOf) -> bool:
        """Whether it looks more often than it was told, which it is then told again, with more seconds."""
        row, now = credential.row, now_us()
        early = now < row.looked_at + row.interval * 1_000_000
        row.looked_at = now
        if early:
            row.interval += 5
        return early

    def create_token_response(self) -> Any:
        """The tokens; the code is used up."""
        row = self._row()
        # No sign-on: signing out in the browser that let it in is not meant for the device.
        self.server.begin_family(self.request.client.row, self.request.user, "", row.scope, tokens.FAMILY_S)
        row.state = "taken"
        return super().create_token_response()

    def _row(self) -> DeviceGrant:
        row = self.server.session.get(DeviceGrant, digest(self.request.payload.data["device_code"]))
        assert row is not None
        return row


class ServiceGrant(ClientCredentialsGrant):
    """As the program itself, for nobody."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS[:2]
    server: Provider

    def create_token_response(self) -> Any:
        """An access token, of a family that ends with it."""
        scope = self.request.payload.scope or ""
        self.server.begin_family(self.request.client.row, None, "", scope, tokens.ACCESS_S)
        return super().create_token_response()


class Pkce(CodeChallenge):
    """PKCE by S256 for every client. Authlib asks it of those only that have no secret."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: CodeGrant, redirect_uri: str) -> None:
        """Raises InvalidRequestError unless there is a challenge, by S256."""
        data = grant.request.payload.data
        if not data.get("code_challenge"):
            raise InvalidRequestError("Missing 'code_challenge': PKCE is required.")
        if data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("The 'code_challenge_method' must be S256.")
        super().validate_code_challenge(grant, redirect_uri)


class IdTokens(OpenIDCode):
    """Id tokens, with whatever a client may know of the person: by code, and again with each refresh."""

    def __init__(self, provider: Provider) -> None:
        super().__init__(require_nonce=False)
        self._provider = provider

    def exists_nonce(self, nonce: str, request: Asked) -> bool:
        """No: that is for the client to know. Here, a page that is loaded once more is no attack."""
        return False

    def get_encode_header(self, client: ClientOf) -> dict[str, str]:
        """With the key's id: clients know several keys."""
        return {"alg": ALGORITHM, "kid": self._provider.ring.kid}

    def get_client_claims(self, client: ClientOf) -> dict[str, Any]:
        """What stands in every id token."""
        family = self._provider.family
        assert family is not None
        return {
            "iss": self._provider.issuer,
            "aud": client.client_id,
            "exp": int(time.time()) + tokens.ID_S,
            "auth_time": self._provider.signed_on_at(family),
            **({"sid": family.sign_on_id} if family.sign_on_id else {}),
        }

    def resolve_client_private_key(self, client: ClientOf) -> RSAKey:
        """The key that signs."""
        return self._provider.ring.active

    def generate_user_info(self, user: User, scope: str) -> dict[str, Any]:
        """What a client may know of the person."""
        return tokens.about(user.who, scope)
