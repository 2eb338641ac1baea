"""Tells programs that somebody has signed out (OpenID Connect Back-Channel Logout 1.0).

What is to be told stands in the database, put there by whatever ended a sign-on, in the same transaction. It is sent
in the background, to all programs at once, and again with growing pauses to those that do not answer. So neither a
program that hangs nor an end of this process keeps anybody from being told.
"""

from __future__ import annotations

import secrets
import ssl
import time
import urllib.error
import urllib.request
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from joserfc import jwt
from sqlmodel import select

from appliance.accounts import sign_on
from appliance.accounts.access_tokens import ALGORITHM
from appliance.accounts.sign_on_tables import Client, LogoutNotice
from appliance.audit.log import note
from appliance.identity.keys import KeyRing
from appliance.identity.services import Services
from appliance.identity.tokens import logout_claims
from appliance.units import now_us

_TIMEOUT_S: Final = 5.0
# Longer than a try may take.
_TAKEN_US: Final = 30_000_000
# Doubled with each try that failed; altogether it is tried for about a day.
_FIRST_PAUSE_S: Final = 1
_MOST_TRIES: Final = 17
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Letter:
    """One notice, as it is sent."""

    id: int
    client: str
    address: str
    body: bytes
    tries: int


def end_shut_out(services: Services) -> None:
    """End what those still have who were removed or suspended by any command, in any process."""
    with services.sessions.reading() as session:
        if not sign_on.shut_out(session):
            return
    with services.sessions.writing() as session:
        ended = sign_on.end_shut_out(session)
    if ended:
        services.sessions.tell()
        note("shut-out-ended", "", people=ended)


def deliver(services: Services, threads: Executor) -> bool:
    """Begin to send what is due; whether there is anything that waits or is under way.

    Each goes by itself: nobody waits for a program that hangs.
    """
    with services.sessions.reading() as session:
        # Most of the time there is nothing: then nobody is kept from writing.
        if session.exec(select(LogoutNotice.id).limit(1)).first() is None:
            return False
    for letter in _taken(services):
        threads.submit(_deliver, services, letter)
    return True


def _deliver(services: Services, letter: Letter) -> None:
    done = _send(letter)
    with services.sessions.writing() as session:
        row = session.get(LogoutNotice, letter.id)
        if row is None:
            return
        row.tries += 1
        if done or row.tries >= _MOST_TRIES:
            session.delete(row)
        else:
            row.next_at = now_us() + (_FIRST_PAUSE_S << row.tries) * 1_000_000


def _taken(services: Services) -> list[Letter]:
    """What is due. It comes again only if it is then still not known how it went."""
    ring, now = services.keys.ring(), now_us()
    with services.sessions.writing() as session:
        due = session.exec(select(LogoutNotice).where(LogoutNotice.next_at <= now).limit(_AT_ONCE))
        found = []
        for row in due:
            client = session.get(Client, row.client_id)
            if client is None or not client.backchannel:
                session.delete(row)
                continue
            row.next_at = now + _TAKEN_US
            assert row.id is not None
            found.append(Letter(row.id, client.id, client.backchannel, _body(services, ring, row), row.tries))
    return found


def _body(services: Services, ring: KeyRing, row: LogoutNotice) -> bytes:
    header = {"alg": ALGORITHM, "typ": "logout+jwt", "kid": ring.kid}
    jti, now_s = secrets.token_urlsafe(16), int(time.time())
    claims = logout_claims(services.issuer, row.client_id, row.person_id, row.sign_on_id, jti, now_s)
    return urlencode({"logout_token": jwt.encode(header, claims, ring.active, algorithms=[ALGORITHM])}).encode()


def _send(letter: Letter) -> bool:
    """Whether a program has taken a notice; what it says to a redirect is never followed."""
    request = urllib.request.Request(letter.address, letter.body, method="POST")
    request.add_header("Content-Type", "application/x-www-form-urlencoded")
    try:
        with _OPENER.open(request, timeout=_TIMEOUT_S) as said:
            return bool(200 <= said.status < 300)
    except (OSError, ValueError, ssl.SSLError) as error:
        note("logout-not-told", "", client=letter.client, tries=letter.tries + 1, why=str(error)[:200])
        return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Nowhere else."""


# No proxy: programs of the company are near.
_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
