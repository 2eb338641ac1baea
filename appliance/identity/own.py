"""Whoever is signed in, as their own account's pages need it: who they are, and whether they proved it lately."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.accounts import sign_on
from appliance.accounts.people_tables import Person
from appliance.accounts.sign_on_tables import SignOn
from appliance.audit.acts import Acts, acting
from appliance.errors import ApplianceError
from appliance.identity.browser import SESSION, Visit, kept
from appliance.identity.services import Services
from appliance.policy.roles import Permission, Verdict, decide, is_fresh
from appliance.units import now_us


@dataclass(frozen=True, slots=True)
class Own:
    """Somebody and the sign-on in their browser. `proved`: they have shown a moment ago that it is them."""

    person: Person
    sign_on: SignOn
    proved: bool

    @property
    def may_change_factors(self) -> bool:
        """Whether they may change now what they prove themselves with."""
        return decide(self.person.role, Permission.OWN_FACTORS, proved=self.proved) is Verdict.ALLOWED


def own_account(services: Services, visit: Visit) -> Own | None:
    """Whose account it is; None for whoever is not signed in, or has no pages."""
    with services.sessions.reading() as session:
        found = services.signed_in(session, visit)
    if found is None or decide(found[1].role, Permission.OWN_ACCOUNT, proved=True) is not Verdict.ALLOWED:
        return None
    return Own(found[1], found[0], is_fresh(found[0].began_at, now_us()))


@contextmanager
def changing(services: Services, visit: Visit, own: Own) -> Iterator[tuple[Acts, Person, SignOn]]:
    """A transaction in which somebody changes their own account; they must still be signed in.

    Raises form-not-ours once they are not, and what `acting` raises.
    """
    with acting(services.home, own.person.login) as acts:
        found = sign_on.current(acts.session, kept(visit, services.issuer, SESSION))
        if found is None or found[1].id != own.person.id:
            raise ApplianceError("form-not-ours", "You are not signed in any more.", "Sign in, then try again.")
        yield acts, found[1], found[0]
    services.wake()
