"""The page on which people let a device in that has no browser."""

from __future__ import annotations

from typing import Any, Final

from sqlmodel import Session, select

from appliance.accounts.sign_on_tables import Client, DeviceGrant
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.identity.asked import Answer
from appliance.identity.browser import Visit, check_form, form_token, sign_in_at
from appliance.identity.models import User
from appliance.identity.pages import onward_to
from appliance.identity.services import Services
from appliance.identity.throttle import Attempt
from appliance.units import now_us

_LETTERS: Final = frozenset("BCDFGHJKLMNPQRSTVWXZ")
_HALF: Final = 4


def page(services: Services, visit: Visit) -> Answer:
    """The form for the code; for whoever is signed in."""
    code = written(visit.argument("user_code"))
    with services.sessions.reading() as session:
        if services.user(session, visit) is None:
            return onward_to(sign_in_at(f"/device?user_code={code}" if code else "/device"))
    return _form(services, visit, code)


def decide(services: Services, visit: Visit) -> Answer:
    """Take the code, and then a yes or a no."""
    check_form(visit, services.issuer)
    code = written(visit.field("code"))
    with services.sessions.reading() as session:
        user = services.user(session, visit)
        if user is None:
            return onward_to(sign_in_at("/device"))
        # Whoever is signed in might still try the codes of others.
        attempt = Attempt(visit.network, "", f"code {user.person.id}")
        grant = None if services.waits(attempt) else waiting(session, code)
        client = None if grant is None else session.get(Client, grant.client_id)
    if client is None:
        services.was_wrong(attempt)
        return _form(services, visit, code, services.say(visit)["device_wrong"])
    decision = visit.field("decision")
    if decision not in ("allow", "refuse"):
        return _shown(services, visit, "device_ask", program=client.name, person=user.who.name, code=code)
    done = _decided(services, visit, user, code, allowed=decision == "allow")
    if not done:
        return _form(services, visit, code, services.say(visit)["device_wrong"])
    word = "device_allowed" if decision == "allow" else "device_refused"
    say = services.say(visit)
    return _shown(services, visit, "message", title=say[word], text=say[f"{word}_text"], detail="", again=False)


def written(typed: str) -> str:
    """A code as it was shown, however somebody has typed it; empty for what can be none."""
    letters = [one for one in typed.upper()[:40] if one in _LETTERS]
    return f"{''.join(letters[:_HALF])}-{''.join(letters[_HALF:])}" if len(letters) == 2 * _HALF else ""


def waiting(session: Session, code: str) -> DeviceGrant | None:
    """The device that shows a code, and still waits."""
    found = session.exec(select(DeviceGrant).where(DeviceGrant.user_code == code)).first()
    return found if found is not None and found.state == "asked" and found.expires_at > now_us() else None


def _decided(services: Services, visit: Visit, user: User, code: str, *, allowed: bool) -> bool:
    """Put the decision down; False where the device does not wait any more."""
    with acting(services.home, user.who.login) as acts:
        grant = waiting(acts.session, code)
        if grant is None:
            return False
        grant.state = "allowed" if allowed else "refused"
        grant.person_id, grant.sign_on_id = user.person.id, user.sign_on_id
        action = Action.DEVICE_ALLOWED if allowed else Action.DEVICE_REFUSED
        acts.note(action, grant.client_id, address=visit.peer)
    return True


def _form(services: Services, visit: Visit, code: str, problem: str = "") -> Answer:
    return _shown(services, visit, "device", 403 if problem else 200, code=code, problem=problem)


def _shown(services: Services, visit: Visit, name: str, status: int = 200, **values: Any) -> Answer:
    token = form_token(visit, services.issuer)
    return services.pages.page(name, services.language(visit), status, token=token, **values)
