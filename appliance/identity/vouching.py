"""The end of what people have on another source's word, once that word is old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlmodel import Session

from appliance.accounts import vouching
from appliance.accounts.people_tables import Person
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.audit.log import note
from appliance.identity.services import Services
from appliance.units import now_us

LOOK_S: Final = 60.0
# Nobody does it: time does.
_ACTOR: Final = "sign-on"


def look_after(services: Services, stopped: Callable[[], bool] = lambda: False) -> int:
    """Sign out whom no source has vouched for lately; how many people that were. `stopped` ends it early.

    Only where somebody's time is over are sources asked whether they answer at all. Raises audit-unavailable.
    """
    with services.sessions.reading() as session:
        known = vouching.resting(session)
    ages, now = services.ages, now_us()
    old = [one for one in known if ages.ends_at(one.source, one.seen_at, answers=True) <= now]
    services.silent = frozenset(one for one in {each.source for each in old} if not _answers(services, one))
    count = 0
    for one in old:
        if stopped():
            break
        if ages.ends_at(one.source, one.seen_at, answers=one.source not in services.silent) <= now:
            count += _end(services, one)
    if count:
        services.wake()
    return count


def is_over(services: Services, session: Session, person: Person) -> bool:
    """Whether somebody must first sign in again where they come from, whatever else they can prove here."""
    word = vouching.word_for(session, person)
    if word is None:
        return False
    return services.ages.ends_at(word.source, word.seen_at, answers=word.source not in services.silent) <= now_us()


def _end(services: Services, one: vouching.Resting) -> bool:
    with acting(services.home, _ACTOR) as acts:
        if not vouching.end(acts.session, one):
            return False
        acts.note(Action.VOUCHING_ENDED, one.login, source=one.source)
    note("vouching-ended", "", person=one.login, source=one.source)
    return True


def _answers(services: Services, source: str) -> bool:
    """Whether a source can be asked at all. One that is not in the settings any more will never vouch again."""
    client = next((one for one in services.upstreams.values() if one.terms.issuer == source), None)
    return client is None or client.answers()
