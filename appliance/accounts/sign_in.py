"""Whether it is somebody who knows their password. Whatever is wrong, the answer and its time are the same.

Hashing takes long on purpose: what does it here is called on a thread, and outside of transactions that write.
"""

from __future__ import annotations

from sqlmodel import Session, col, update

from appliance.accounts import passwords, people
from appliance.accounts.people_tables import Person
from appliance.errors import ApplianceError
from appliance.policy.passwords import must_be_good
from appliance.units import now_us


def with_password(session: Session, address: str, password: str) -> tuple[Person, str]:
    """Whoever has this address and this password, and a new hash where theirs is outdated, to `keep`; else empty.

    It hashes. Only whoever knows the password learns that they are shut out. Raises sign-in-refused or suspended.
    """
    person = people.by_email(session, address)
    if not passwords.matches(person.password if person else "", password) or person is None:
        raise ApplianceError(
            "sign-in-refused", "Address or password is not right.", "Try again, or ask your admin for a new password."
        )
    people.must_not_be_shut_out(session, person)
    return person, passwords.hashed(password) if passwords.is_outdated(person.password) else ""


def keep(session: Session, person: Person, hashed: str) -> None:
    """Keep the new hash of an unchanged password, unless that was changed in the meantime."""
    same = (col(Person.id) == person.id, col(Person.password) == person.password)
    session.exec(update(Person).where(*same).values(password=hashed))


def good(password: str, email: str, name: str, login: str) -> str:
    """The hash of a new password for whoever has this address, name and login. It hashes. Raises password-refused."""
    company = email.rpartition("@")[2]
    return passwords.hashed(must_be_good(password, (email, name, login, company)))


def set_password(person: Person, hashed: str) -> None:
    """Give somebody a new password, by the hash that `good` made."""
    person.password, person.password_at = hashed, now_us()
