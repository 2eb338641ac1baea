"""Another provider as we ask it (OpenID Connect): what it announces, its keys, and a code made into a checked word."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, RSAKey

from appliance.cloud.secrets import UnusableKeyError, read_key
from appliance.config.loopback import LOOPBACK
from appliance.errors import ApplianceError
from appliance.identity.far import Far, FarError
from appliance.identity.journeys import Journey
from appliance.policy import federation
from appliance.policy.federation import Upstream, Vouched, check_token, refused, vouched

_KEPT_S: Final = 3600.0
# A provider that is down is not asked again at once: whoever comes meanwhile hears so without waiting.
_PAUSE_S: Final = 5.0
_NEEDED: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_OF_USERINFO: Final = ("email", "email_verified", "name")
_LONGEST_TOKEN: Final = 200_000


class UpstreamClient:
    """Asks one provider. For use by several threads; what waits for it waits at most for a few seconds."""

    def __init__(self, terms: Upstream, far: Far | None = None) -> None:
        self.terms = terms
        self._far = far or Far(terms.ca_file)
        self._lock = threading.Lock()
        self._about: dict[str, Any] = {}
        self._about_until = 0.0
        self._keys: list[dict[str, Any]] = []
        self._keys_until = 0.0
        self._down: tuple[float, ApplianceError] | None = None

    def away(self, journey: Journey, back: str) -> str:
        """The address at which somebody signs in there; `back` is where they return. Raises provider-unreachable."""
        # Whoever is signed in there would else be waved through, where they are to prove themselves once more.
        again = {"prompt": "login", "max_age": "0"} if journey.again else {}
        return str(
            prepare_grant_uri(
                self.about()["authorization_endpoint"],
                client_id=self.terms.client_id,
                response_type="code",
                redirect_uri=back,
                scope=" ".join(self.terms.scopes),
                state=journey.state,
                nonce=journey.nonce,
                code_challenge=create_s256_code_challenge(journey.verifier),
                code_challenge_method="S256",
                **again,
            )
        )

    def returned(self, fields: Mapping[str, list[str]], journey: Journey, back: str) -> Vouched:
        """Whom it vouches for, by the fields with which it sent somebody back.

        Raises provider-refused, provider-unreachable or provider-secret-bad.
        """
        about = self.about()
        announces = about.get("authorization_response_iss_parameter_supported") is True
        code = federation.check_answer(self.terms, fields, names_itself=announces)
        tokens = self._exchange(code, journey.verifier, back)
        claims = self._claims(str(tokens.get("id_token", "")))
        check_token(self.terms, claims, journey.nonce, time.time(), again=journey.again)
        return vouched(self.terms, self._more(claims, tokens.get("access_token")))

    def check(self, back: str) -> None:
        """Raises what is wrong with the provider, or with the settings for it."""
        self.secret()
        self.keys()
        try:
            self._exchange("no-code", "no-verifier", back)
        except ApplianceError as error:
            # It cannot like this code; but if it does not know who asks, it says so first.
            if "(invalid_client)" in error.sentence or "(unauthorized_client)" in error.sentence:
                raise refused(self.terms.name, "it does not know `client_id`, or the secret is another") from error

    def about(self) -> dict[str, Any]:
        """What it announces of itself, kept for an hour. Raises provider-unreachable or provider-refused."""
        with self._lock:
            if time.monotonic() > self._about_until:
                self._about = self._ask_about()
                self._about_until = time.monotonic() + _KEPT_S
            return self._about

    def answers(self) -> bool:
        """Whether it answers just now, however it does."""
        with self._lock:
            try:
                self._ask_about()
            except ApplianceError as error:
                return error.code != "provider-unreachable"
        return True

    def secret(self) -> str:
        """Our secret there, read anew each time. Raises provider-secret-bad."""
        try:
            found = read_key(Path(self.terms.secret_file))
        except UnusableKeyError as error:
            raise self._no_secret(str(error)) from error
        if found is None:
            raise self._no_secret("there is no such file")
        return found

    def keys(self, *, anew: bool = False) -> list[dict[str, Any]]:
        """Its public keys, kept for an hour. Raises provider-unreachable or provider-refused."""
        address = self.about()["jwks_uri"]
        with self._lock:
            if anew or time.monotonic() > self._keys_until:
                found = self._asked(self._far.get, address).get("keys")
                if not isinstance(found, list):
                    raise refused(self.terms.name, "its keys cannot be read")
                self._keys = [one for one in found if isinstance(one, dict)]
                self._keys_until = time.monotonic() + _KEPT_S
            return self._keys

    def _ask_about(self) -> dict[str, Any]:
        if self._down is not None and time.monotonic() < self._down[0]:
            raise self._down[1]
        address = f"{self.terms.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = self._asked(self._far.get, address)
        except ApplianceError as error:
            self._down = time.monotonic() + _PAUSE_S, error
            raise
        if found.get("issuer") != self.terms.issuer:
            raise refused(self.terms.name, f"it calls itself {federation.plain(str(found.get('issuer')))}")
        for name in (*_NEEDED, "userinfo_endpoint"):
            if name in _NEEDED or name in found:
                self._check_endpoint(name, found.get(name))
        return found

    def _check_endpoint(self, name: str, address: Any) -> None:
        parts = urlsplit(address) if isinstance(address, str) else urlsplit("")
        near = parts.scheme == "http" and parts.hostname in LOOPBACK and self.terms.issuer.startswith("http:")
        if not parts.hostname or not (parts.scheme == "https" or near):
            raise refused(self.terms.name, f"its {name} is no https address")

    def _exchange(self, code: str, verifier: str, back: str) -> dict[str, Any]:
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        about, secret, headers = self.about(), self.secret(), {}
        methods = about.get("token_endpoint_auth_methods_supported")
        if isinstance(methods, list) and "client_secret_post" in methods and "client_secret_basic" not in methods:
            fields |= {"client_id": self.terms.client_id, "client_secret": secret}
        else:
            pair = f"{quote_plus(self.terms.client_id)}:{quote_plus(secret)}"
            headers = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        return self._asked(self._far.post, about["token_endpoint"], fields, headers)

    def _claims(self, token: str) -> dict[str, Any]:
        """What an id token says, if it is signed with one of the provider's keys."""
        if not 0 < len(token) <= _LONGEST_TOKEN:
            raise refused(self.terms.name, "it gave no id token")
        try:
            return self._proved(token, self.keys())
        except _UnknownKeyError:
            # It may have begun to sign with a new one.
            keys = self.keys(anew=True)
        try:
            return self._proved(token, keys)
        except _UnknownKeyError as error:
            raise refused(self.terms.name, "its id token is signed with an unknown key") from error

    def _proved(self, token: str, keys: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            found = jwt.decode(token, lambda guest: _key(keys, guest.headers()), federation.ALGORITHMS)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise refused(self.terms.name, "its id token is not signed as it must be") from error
        return dict(found.claims)

    def _more(self, claims: dict[str, Any], access: Any) -> dict[str, Any]:
        """The claims, with what the provider only tells when asked for it."""
        address, where = self.about().get("userinfo_endpoint"), self.terms.groups_claim
        lacks = "email" not in claims or (self.terms.groups and where.partition(".")[0] not in claims)
        if not lacks or address is None or not isinstance(access, str) or not access.isascii():
            return claims
        told = self._asked(self._far.get, address, {"Authorization": f"Bearer {access}"})
        if told.get("sub") != claims["sub"]:
            raise refused(self.terms.name, "it told us of somebody else")
        wanted = _OF_USERINFO if "email" not in claims else ()
        more = {name: told[name] for name in (*wanted, where, where.partition(".")[0]) if name in told}
        return {**more, **claims}

    def _asked(self, ask: Any, address: str, *more: Any) -> dict[str, Any]:
        try:
            return dict(ask(address, *more))
        except FarError as error:
            host = urlsplit(address).hostname
            raise ApplianceError(
                "provider-unreachable",
                f"Signing in with {self.terms.name} is not possible now: {host} {error}.",
                f"Others sign in with their password. To see more: appliance sign-in check {self.terms.name}",
            ) from error

    def _no_secret(self, why: str) -> ApplianceError:
        return ApplianceError(
            "provider-secret-bad",
            f"Our secret for {self.terms.name} in {self.terms.secret_file} cannot be used: {why}.",
            "Put the secret that the provider gave you into that file, and run `chmod 600` on it.",
        )


class _UnknownKeyError(Exception):
    """No one key of the provider's fits a token."""


def _key(keys: list[dict[str, Any]], header: Mapping[str, Any]) -> RSAKey | ECKey:
    """The one key that a token's header means, of the type that its algorithm needs."""
    kind = federation.KEY_TYPES.get(str(header.get("alg")))
    wanted = header.get("kid")
    fitting = [
        one
        for one in keys
        if one.get("kty") == kind and one.get("use", "sig") == "sig" and wanted in (None, one.get("kid"))
    ]
    if len(fitting) != 1:
        raise _UnknownKeyError
    found = JWKRegistry.import_key({name: one for name, one in fitting[0].items() if name not in ("alg", "key_ops")})
    if not isinstance(found, RSAKey | ECKey):
        raise _UnknownKeyError
    return found
