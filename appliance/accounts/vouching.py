"""Those who are signed in on another source's word: who they are, and the end of what they have by it.

Whoever has a password here may sign in by it whatever happens elsewhere; of theirs, only what came of the other source
ends. All others have nothing but that word, whatever they proved themselves with since: so all of theirs does.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, col, select

from appliance.accounts import sign_on
from appliance.accounts.federation_tables import ForeignAccount
from appliance.accounts.people_tables import Person
from appliance.accounts.sign_on_tables import DeviceGrant, SignOn, TokenFamily
from appliance.units import now_us

# How a sign-on says that another provider proved who it is; the proof that came after may stand behind it.
FEDERATED = "fed"
# Why tokens end.
_WHY = "not-vouched-for"


@dataclass(frozen=True, slots=True)
class Resting:
    """Somebody who is signed in on a source's word: on the one that was given last."""

    person_id: str
    login: str
    source: str
    seen_at: int


def resting(session: Session) -> list[Resting]:
    """Everybody who has something that would end without another source's word."""
    alive, federated = _alive(session)
    found: dict[str, Resting] = {}
    rows = select(ForeignAccount, Person).where(ForeignAccount.person_id == Person.id, col(Person.removed_at).is_(None))
    for known, person in session.exec(rows.order_by(col(ForeignAccount.seen_at))):
        if person.id in (federated if person.password else alive):
            found[person.id] = Resting(person.id, person.login, known.source, known.seen_at)
    return list(found.values())


def word_for(session: Session, person: Person) -> Resting | None:
    """The word that somebody needs to sign in; None for whoever has a password here, or comes from nowhere else."""
    mine = select(ForeignAccount).where(ForeignAccount.person_id == person.id)
    newest = session.exec(mine.order_by(col(ForeignAccount.seen_at).desc())).first()
    if newest is None or person.password:
        return None
    return Resting(person.id, person.login, newest.source, newest.seen_at)


def end(session: Session, one: Resting) -> int:
    """End what somebody has by another source's word, if that is still the last that was given; how much it was."""
    person = session.get_one(Person, one.person_id)
    newer = select(ForeignAccount).where(
        ForeignAccount.person_id == person.id, col(ForeignAccount.seen_at) > one.seen_at
    )
    if session.exec(newer).first() is not None:
        return 0
    if not person.password:
        return sign_on.end_person(session, person.id, _WHY)
    mine = [found for found in sign_on.alive_of(session, person.id) if _is_federated(found)]
    for found in mine:
        sign_on.end(session, found, _WHY)
    return len(mine)


def seen(session: Session, source: str, subjects: list[str]) -> None:
    """A source has said just now that these accounts are still good."""
    now = now_us()
    for subject in subjects:
        known = session.get(ForeignAccount, (source, subject))
        if known is not None:
            known.seen_at = now


def _alive(session: Session) -> tuple[set[str], set[str]]:
    """The ids of those who have something that has not ended, and of those who have a sign-on by a provider."""
    now = now_us()
    ons = list(session.exec(select(SignOn).where(col(SignOn.ended_at).is_(None), SignOn.expires_at > now)))
    holders = select(TokenFamily.person_id).where(col(TokenFamily.ended_at).is_(None), TokenFamily.expires_at > now)
    waiting = select(DeviceGrant.person_id).where(DeviceGrant.state == "allowed")
    alive = {one.person_id for one in ons} | {*session.exec(holders)} | {*session.exec(waiting)}
    return alive - {None}, {one.person_id for one in ons if _is_federated(one)}


def _is_federated(one: SignOn) -> bool:
    return one.means.partition(" ")[0] == FEDERATED
