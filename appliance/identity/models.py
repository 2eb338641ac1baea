"""Rows of our tables as Authlib asks about them."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceCredentialMixin
from authlib.oidc.core import AuthorizationCodeMixin
from sqlmodel import Session, col, select

from appliance.accounts import sign_on
from appliance.accounts.api_keys import digest
from appliance.accounts.clients import CODE, DEVICE, SERVICE
from appliance.accounts.people_tables import Membership, Person
from appliance.accounts.sign_on_tables import AuthorizationCode, Client, DeviceGrant, TokenFamily
from appliance.identity.tokens import SCOPES, Who
from appliance.units import now_us

_FLOW_OF = {
    "authorization_code": {CODE},
    DEVICE_CODE_GRANT_TYPE: {DEVICE},
    "client_credentials": {SERVICE},
    "refresh_token": {CODE, DEVICE},
}


@dataclass(frozen=True, slots=True)
class User:
    """A person who signs in. `sign_on_id` is where, empty where that does not matter."""

    person: Person
    who: Who
    sign_on_id: str = ""

    @classmethod
    def of(cls, session: Session, person_id: str | None, sign_on_id: str = "") -> User | None:
        """A person by id, with the groups that they are in now."""
        person = session.get(Person, person_id) if person_id else None
        if person is None:
            return None
        groups = session.exec(
            select(Membership.group_name).where(Membership.person_id == person.id).order_by(col(Membership.group_name))
        )
        who = Who(
            sub=person.id,
            login=person.login,
            name=person.name or person.login,
            email=person.email,
            role=person.role,
            groups=tuple(groups),
            language=person.language,
        )
        return cls(person, who, sign_on_id)

    def is_shut_out(self, session: Session) -> bool:
        """Whether they are removed or suspended."""
        return sign_on.is_shut_out(session, self.person)

    def get_user_id(self) -> str:
        """What tokens know them by."""
        return self.person.id


class ClientOf(ClientMixin):
    """A registered client."""

    def __init__(self, row: Client) -> None:
        self.row = row
        self.client_id = row.id
        self.client_metadata: dict[str, Any] = {"post_logout_redirect_uris": row.logout_redirects.split()}

    def get_client_id(self) -> str:
        """Its id."""
        return self.row.id

    def get_default_redirect_uri(self) -> None:
        """None: a request says where to, so that nobody sends people anywhere by leaving it out."""

    def get_allowed_scope(self, scope: str | None) -> str:
        """Those scopes of a request that there are."""
        return " ".join(one for one in (scope or "").split() if one in SCOPES)

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether people may be sent there: character by character."""
        return redirect_uri in self.row.redirects.split()

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether it is its secret."""
        return bool(self.row.digest) and hmac.compare_digest(digest(client_secret), self.row.digest)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """With a secret it must be shown; without one there is nothing to show."""
        return (method == "none") == (not self.row.digest)

    def check_response_type(self, response_type: str) -> bool:
        """Only codes go through a browser."""
        return response_type == "code" and self.check_grant_type("authorization_code")

    def check_grant_type(self, grant_type: str) -> bool:
        """Whether it may get tokens that way."""
        return bool(_FLOW_OF.get(grant_type, set()) & set(self.row.flows.split()))


class CodeOf(AuthorizationCodeMixin):
    """An authorization code that is still good."""

    def __init__(self, row: AuthorizationCode, auth_time: int, means: str) -> None:
        self.row = row
        self.code_challenge = row.challenge
        self.code_challenge_method = "S256"
        self._auth_time = auth_time
        self._means = means

    def get_redirect_uri(self) -> str:
        """Where it was sent to."""
        return self.row.redirect

    def get_scope(self) -> str:
        """What it is for."""
        return self.row.scope

    def get_nonce(self) -> str:
        """What the client will look for in the id token."""
        return self.row.nonce

    def get_auth_time(self) -> int:
        """When the person proved who they are, in seconds since 1970."""
        return self._auth_time

    def get_amr(self) -> list[str]:
        """How they did (RFC 8176)."""
        return self._means.split()


class DeviceOf(DeviceCredentialMixin):
    """A device that asks to be let in."""

    def __init__(self, row: DeviceGrant) -> None:
        self.row = row

    def get_client_id(self) -> str:
        """Its client's id."""
        return self.row.client_id

    def get_scope(self) -> str:
        """What it asked for."""
        return self.row.scope

    def get_user_code(self) -> str:
        """What people type for it."""
        return self.row.user_code

    def is_expired(self) -> bool:
        """Whether it waited too long."""
        return self.row.expires_at <= now_us()


@dataclass(frozen=True, slots=True)
class Held(TokenMixin):
    """A token that somebody holds. `expires_at` in seconds since 1970; `user` is None for a program's own."""

    family: TokenFamily
    kind: str
    user: User | None
    expires_at: int
    revoked: bool

    def check_client(self, client: ClientOf) -> bool:
        """Whether it is this client's."""
        return self.family.client_id == client.client_id

    def get_scope(self) -> str:
        """What it is for."""
        return self.family.scope

    def is_expired(self) -> bool:
        """Whether it is over."""
        return self.expires_at * 1_000_000 <= now_us()

    def is_revoked(self) -> bool:
        """Whether it was taken back, used up, or whoever it stands for is shut out."""
        return self.revoked
