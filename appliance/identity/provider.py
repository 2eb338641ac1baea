"""The protocol, as Authlib speaks it, over our tables: one `Provider` for each request and its transaction.

What Authlib leaves open or does not do is done here: PKCE for clients with a secret too, the key's id in access tokens,
and the end of a whole family of tokens when one of them comes twice.
"""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749 import AuthorizationServer, InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from joserfc import jwt
from joserfc.errors import JoseError
from sqlmodel import Session

from appliance.accounts import sign_on
from appliance.accounts.access_tokens import ALGORITHM, AUDIENCE, TYPE
from appliance.accounts.api_keys import digest
from appliance.accounts.sign_on_tables import Client, RefreshToken, SignOn, TokenFamily
from appliance.identity import tokens
from appliance.identity.asked import Answer, Asked, answer
from appliance.identity.keys import KeyRing
from appliance.identity.models import ClientOf, Held, User
from appliance.units import now_us

# Nobody else asks at the addresses of the protocol, so nothing of it is kept on the way.
NO_STORE: Final = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))


class Provider(AuthorizationServer):
    """Answers one request. `family` is the one that its tokens are of; `ended` says what it had to end, and why."""

    def __init__(self, session: Session, ring: KeyRing, issuer: str) -> None:
        super().__init__(scopes_supported=list(tokens.SCOPES))
        self.session = session
        self.ring = ring
        self.issuer = issuer
        self.family: TokenFamily | None = None
        self.ended: list[tuple[TokenFamily, str]] = []
        generator = BearerTokenGenerator(self.access_token, self.refresh_token, tokens.ACCESS_S)
        self.register_token_generator("default", generator)

    # What Authlib asks of whoever runs it.

    def query_client(self, client_id: str) -> ClientOf | None:
        """A client by its id."""
        found = self.session.get(Client, client_id)
        return None if found is None else ClientOf(found)

    def save_token(self, token: dict[str, Any], request: Asked) -> None:
        """Keep what a refresh token is known by; an access token proves itself."""
        if "refresh_token" in token:
            assert self.family is not None
            self.session.add(RefreshToken(digest=digest(token["refresh_token"]), family_id=self.family.id))
            self.session.flush()

    def create_oauth2_request(self, request: Asked) -> Asked:
        """It is one already."""
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> Answer:
        """The answer."""
        return answer(status, body, headers)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    # Families.

    def begin_family(self, client: Client, user: User | None, sign_on_id: str, scope: str, seconds: int) -> TokenFamily:
        """The family of the tokens that this request is answered with."""
        now = now_us()
        self.family = TokenFamily(
            id="fam-" + secrets.token_hex(12),
            client_id=client.id,
            person_id=None if user is None else user.person.id,
            sign_on_id=sign_on_id,
            scope=scope,
            began_at=now,
            expires_at=now + seconds * 1_000_000,
            why="",
        )
        self.session.add(self.family)
        self.session.flush()
        return self.family

    def end_family(self, family_id: str, why: str) -> None:
        """End a family because of what was asked for."""
        family = self.session.get(TokenFamily, family_id)
        if family is not None and family.ended_at is None:
            sign_on.end_family(self.session, family, why)
            self.ended.append((family, why))

    def signed_on_at(self, family: TokenFamily) -> int:
        """When the person of a family proved who they are, in seconds since 1970."""
        found = self.session.get(SignOn, family.sign_on_id) if family.sign_on_id else None
        return (family.began_at if found is None else found.began_at) // 1_000_000

    # Tokens.

    def access_token(self, client: ClientOf, grant_type: str, user: User | None, scope: str) -> str:
        """An access token for the gateway (RFC 9068)."""
        assert self.family is not None
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": client.client_id if user is None else user.person.id,
            "client_id": client.client_id,
            "iat": now,
            "exp": now + tokens.ACCESS_S,
            "jti": secrets.token_urlsafe(16),
            "family": self.family.id,
            "scope": scope,
            **({"sid": self.family.sign_on_id} if self.family.sign_on_id else {}),
            **tokens.access_of(None if user is None else user.who),
        }
        return self.signed(claims, TYPE)

    def refresh_token(self, client: ClientOf, grant_type: str, user: User | None, scope: str) -> str:
        """A refresh token: nothing but random."""
        return "apr-" + secrets.token_urlsafe(32)

    def signed(self, claims: dict[str, Any], type: str) -> str:
        """A signed token of a type, which says by which key."""
        header = {"alg": ALGORITHM, "typ": type, "kid": self.ring.kid}
        return jwt.encode(header, claims, self.ring.active, algorithms=[ALGORITHM])

    def held(self, token: str) -> Held | None:
        """What an access or refresh token stands for, whether it is still good or not; None for what is none."""
        kept = self.session.get(RefreshToken, digest(token))
        if kept is not None:
            return self._held(kept.family_id, "refresh_token", None, used=kept.used_at is not None)
        try:
            found = jwt.decode(token, self.ring.public(), algorithms=[ALGORITHM])
        except (JoseError, TypeError, ValueError):
            return None
        said = found.claims
        if found.header.get("typ") != TYPE or said.get("iss") != self.issuer or said.get("aud") != AUDIENCE:
            return None
        if type(said.get("exp")) is not int or not isinstance(said.get("family"), str):
            return None
        return self._held(said["family"], "access_token", said, used=False)

    def _held(self, family_id: str, kind: str, claims: dict[str, Any] | None, *, used: bool) -> Held | None:
        family = self.session.get(TokenFamily, family_id)
        if family is None:
            return None
        user = User.of(self.session, family.person_id)
        gone = family.person_id is not None and (user is None or user.is_shut_out(self.session))
        expires_at = family.expires_at // 1_000_000
        return Held(
            family=family,
            kind=kind,
            user=user,
            expires_at=expires_at if claims is None else min(expires_at, claims["exp"]),
            revoked=used or gone or family.ended_at is not None,
        )

    def with_issuer(self, said: Answer) -> Answer:
        """An answer that sends the browser back to a client, with who it comes from (RFC 9207)."""
        location = said.location
        if location is None:
            return said
        return answer(said.status, "", [("Location", add_params_to_uri(location, {"iss": self.issuer})), *NO_STORE])


def refused(provider: Provider, error: OAuth2Error) -> Answer:
    """An error as the protocol words it."""
    said: Answer = provider.handle_error_response(None, error)
    return said


def one_of_each(asked: Asked) -> None:
    """Raises InvalidRequestError where a field comes twice: then two readers might take different ones."""
    if any(len(values) > 1 for values in asked.payload.datalist.values()):
        raise InvalidRequestError("A parameter comes twice.")
