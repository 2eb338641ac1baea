"""Passkeys: keys that a person's device holds and uses only for whoever it knows. py_webauthn checks what they say.

The library is loaded with the first passkey: a company without any does not carry it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlmodel import Session, col, or_, select, update

from appliance.accounts import owners, people
from appliance.accounts.people_tables import Passkey, Person
from appliance.errors import ApplianceError
from appliance.units import now_us

if TYPE_CHECKING:
    from webauthn.authentication.verify_authentication_response import VerifiedAuthentication
    from webauthn.registration.verify_registration_response import VerifiedRegistration

MOST: Final = 20
_LONGEST: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Asked:
    """What a passkey must answer to: a challenge of ours, for a host, on pages of an origin."""

    challenge: bytes
    host: str
    origin: str


def challenge_of(answer: str) -> bytes:
    """The challenge that a browser says it has answered, unchecked. Raises sign-in-refused for no answer at all."""
    from webauthn.helpers import base64url_to_bytes, parse_client_data_json
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        said = _read(answer)["response"]["clientDataJSON"]
        return parse_client_data_json(base64url_to_bytes(said)).challenge
    except (WebAuthnException, KeyError, TypeError, ValueError) as error:
        raise refused() from error


def add(session: Session, person: Person, asked: Asked, answer: str, name: str) -> Passkey:
    """Keep a new passkey of somebody. Raises sign-in-refused for an answer that is not right, or one too many."""
    from webauthn.helpers import bytes_to_base64url

    found = _registered(asked, answer)
    key_id = bytes_to_base64url(found.credential_id)
    if session.get(Passkey, key_id) is not None or len(of(session, person)) >= MOST:
        raise refused()
    made = Passkey(
        id=key_id,
        person_id=person.id,
        public_key=found.credential_public_key,
        sign_count=found.sign_count,
        name=name,
        created_at=now_us(),
    )
    session.add(made)
    session.flush()
    return made


def of(session: Session, person: Person) -> list[Passkey]:
    """Somebody's passkeys, oldest first."""
    return list(session.exec(select(Passkey).where(Passkey.person_id == person.id).order_by(col(Passkey.created_at))))


def remove(session: Session, person: Person, key_id: str) -> Passkey | None:
    """Forget a passkey of somebody's; None where they have no such one. Raises last-owner."""
    found = session.get(Passkey, key_id)
    if found is None or found.person_id != person.id:
        return None
    with owners.keeping_one(session):
        session.delete(found)
    return found


def whose(session: Session, asked: Asked, answer: str) -> Person:
    """Who has signed in with a passkey; of two with the same answer, one. Raises sign-in-refused or suspended.

    A counter that does not go up means that the key was copied, so it is refused; many passkeys count nothing.
    """
    try:
        said = _read(answer)
        key = session.get(Passkey, str(said["id"]))
        named = said["response"].get("userHandle")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise refused() from error
    if key is None:
        raise refused()
    person = session.get_one(Person, key.person_id)
    count = _answered(asked, answer, key).new_sign_count
    if named and _bytes(named) != person.id.encode():
        raise refused()
    people.must_not_be_shut_out(session, person)
    later = or_(col(Passkey.sign_count) < count, (col(Passkey.sign_count) == 0) & (count == 0))
    values = {"sign_count": count, "used_at": now_us()}
    if session.exec(update(Passkey).where(col(Passkey.id) == key.id, later).values(**values)).rowcount != 1:
        raise refused()
    return person


def refused() -> ApplianceError:
    """An answer that is not taken: the same words for whatever is wrong with it."""
    return ApplianceError(
        "sign-in-refused", "This passkey is not known here, or it took too long.", "Try again, or use your password."
    )


def _registered(asked: Asked, answer: str) -> VerifiedRegistration:
    from webauthn import verify_registration_response
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return verify_registration_response(
            credential=_read(answer),
            expected_challenge=asked.challenge,
            expected_rp_id=asked.host,
            expected_origin=asked.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, KeyError, TypeError, ValueError) as error:
        raise refused() from error


def _answered(asked: Asked, answer: str, key: Passkey) -> VerifiedAuthentication:
    from webauthn import verify_authentication_response
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        return verify_authentication_response(
            credential=_read(answer),
            expected_challenge=asked.challenge,
            expected_rp_id=asked.host,
            expected_origin=asked.origin,
            credential_public_key=key.public_key,
            credential_current_sign_count=key.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, KeyError, TypeError, ValueError) as error:
        raise refused() from error


def _read(answer: str) -> dict[str, Any]:
    """A browser's answer. Raises ValueError."""
    if len(answer) > _LONGEST:
        raise ValueError("too long")
    found = json.loads(answer)
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found


def _bytes(text: Any) -> bytes:
    from webauthn.helpers import base64url_to_bytes

    try:
        return base64url_to_bytes(str(text))
    except ValueError:
        return b""
