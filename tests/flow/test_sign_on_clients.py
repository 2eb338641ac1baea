"""Programs that we did not write: a certified relying party for Node, and Authlib's client."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.support.environments import node_environment, own_environment
from tests.support.people import PASSWORD
from tests.support.sign_on import Browser, SignOn

FOLDER = Path(__file__).parent.parent / "clients" / "oidc"


@pytest.mark.slow
def test_openid_client_for_node_signs_somebody_in_and_out(sign_on: SignOn) -> None:
    about = sign_on.client(
        "Node",
        redirects=["http://127.0.0.1:9/callback"],
        logout_redirects=["http://127.0.0.1:9/bye"],
        flows=["device", "service"],
    )
    told = {"ISSUER": sign_on.issuer, "CLIENT": about["id"], "SECRET": about["secret"]}
    done = subprocess.run(
        ["node", str(node_environment(FOLDER) / "party.js")],
        env=own_environment() | told | {"EMAIL": "anna@example.com", "PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_authlibs_client_signs_somebody_in(sign_on: SignOn, anna: Browser) -> None:
    redirect = "http://127.0.0.1:9/callback"
    about = sign_on.client("Authlib", redirects=[redirect])
    with OAuth2Client(
        about["id"], about["secret"], scope="openid email", redirect_uri=redirect, code_challenge_method="S256"
    ) as client:
        found = sign_on.ask("GET", "/.well-known/openid-configuration").json
        verifier = "a-verifier-that-is-long-enough-to-be-taken-by-all"
        address, state = client.create_authorization_url(
            found["authorization_endpoint"], code_verifier=verifier, nonce="n"
        )
        said = anna.ask("GET", address.removeprefix(sign_on.issuer))
        token = client.fetch_token(
            found["token_endpoint"], authorization_response=said.location, code_verifier=verifier, state=state
        )
        keys = KeySet.import_key_set(sign_on.ask("GET", "/jwks").json)
        checked = jwt.decode(token["id_token"], keys, algorithms=["RS256"])
        expected = {"nonce": "n", "access_token": token["access_token"]}
        about_them = CodeIDToken(checked.claims, checked.header, params=expected)
        about_them.validate()
        assert about_them["email"] == "anna@example.com"
        assert client.get(found["userinfo_endpoint"]).json()["sub"] == about_them["sub"]
        assert client.refresh_token(found["token_endpoint"])["access_token"] != token["access_token"]
        client.revoke_token(found["revocation_endpoint"], token["refresh_token"])
        assert client.get(found["userinfo_endpoint"]).status_code == 401
