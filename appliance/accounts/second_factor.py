"""The second factor: codes of an authenticator app, and recovery codes for whoever has lost it.

Each code is taken once, also if two ask at the same moment: it is the database that says who was first.
"""

from __future__ import annotations

import base64
import secrets
from typing import Final

import pyotp
from sqlmodel import Session, col, delete, func, select, update

from appliance.accounts import owners
from appliance.accounts.api_keys import digest
from appliance.accounts.people_tables import Passkey, Person, RecoveryCode
from appliance.errors import ApplianceError
from appliance.policy.totp import recovery_code, step_of

RECOVERY_CODES: Final = 10
# 80 bits: too many to be guessed, also by whoever has the digests.
_RECOVERY_BYTES: Final = 10


def new_secret() -> str:
    """A secret for an authenticator app, in base32. It is kept once a code of it has been shown: `turn_on`."""
    return pyotp.random_base32()


def turn_on(session: Session, person: Person, secret: str, code: str, now_s: float) -> list[str]:
    """Ask somebody for codes of an authenticator from now on; their recovery codes, which are shown once.

    Raises sign-in-refused for a code that is not of this secret: then the app has another, or its clock is wrong.
    """
    step = step_of(secret, code, now_s, 0)
    if step is None:
        raise wrong_code()
    person.totp, person.totp_step = secret, step
    return renew_recovery_codes(session, person)


def turn_off(session: Session, person: Person) -> None:
    """Ask somebody for no codes any more, and forget the recovery codes that stood in for them."""
    person.totp, person.totp_step = "", 0
    session.exec(delete(RecoveryCode).where(col(RecoveryCode.person_id) == person.id))
    session.flush()


def check(session: Session, person: Person, code: str, now_s: float) -> None:
    """Take a code of somebody's authenticator, or one of their recovery codes. Raises sign-in-refused."""
    step = step_of(person.totp, code, now_s, person.totp_step) if person.totp else None
    if step is None:
        taken = session.exec(
            update(RecoveryCode)
            .where(
                col(RecoveryCode.digest) == _digest(person, code),
                col(RecoveryCode.person_id) == person.id,
                col(RecoveryCode.used_at).is_(None),
            )
            .values(used_at=int(now_s * 1e6))
        )
    else:
        later = (col(Person.id) == person.id, col(Person.totp) == person.totp, col(Person.totp_step) < step)
        taken = session.exec(update(Person).where(*later).values(totp_step=step))
    if taken.rowcount != 1:
        raise wrong_code()


def renew_recovery_codes(session: Session, person: Person) -> list[str]:
    """Ten new recovery codes, such as `abcd-efgh-ijkl-mnop`, in place of all earlier ones."""
    session.exec(delete(RecoveryCode).where(col(RecoveryCode.person_id) == person.id))
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(digest=_digest(person, code), person_id=person.id) for code in codes)
    session.flush()
    return codes


def recovery_codes_left(session: Session, person: Person) -> int:
    """How many recovery codes somebody has not used yet."""
    unused = (RecoveryCode.person_id == person.id, col(RecoveryCode.used_at).is_(None))
    return session.exec(select(func.count()).select_from(RecoveryCode).where(*unused)).one()


def drop(session: Session, person: Person) -> None:
    """Forget somebody's authenticator, recovery codes and passkeys. Raises last-owner, for one without a password."""
    with owners.keeping_one(session):
        person.totp, person.totp_step = "", 0
        for table in (RecoveryCode, Passkey):
            session.exec(delete(table).where(col(table.person_id) == person.id))


def wrong_code() -> ApplianceError:
    """A code that is not right: the same words for whatever is wrong with it."""
    return ApplianceError(
        "sign-in-refused",
        "This code is not right, or was used already.",
        "Wait for the next code of your app, or use one of your recovery codes.",
    )


def _recovery_code() -> str:
    letters = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def _digest(person: Person, code: str) -> str:
    return digest(f"{person.id} {recovery_code(code)}")
