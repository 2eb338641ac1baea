"""What the handlers of sign-on work with, for as long as its process runs."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlmodel import Session

from appliance.accounts import sign_on
from appliance.accounts.people_tables import Person
from appliance.accounts.sign_on_tables import SignOn
from appliance.audit.log import note
from appliance.config.paths import Home
from appliance.identity import keys
from appliance.identity.browser import LANGUAGE, SESSION, Visit, kept
from appliance.identity.challenges import Challenges
from appliance.identity.endpoints import make_provider
from appliance.identity.journeys import Journeys
from appliance.identity.models import User
from appliance.identity.pages import Pages
from appliance.identity.provider import Provider
from appliance.identity.refusals import Refusals
from appliance.identity.throttle import Attempt, Throttle
from appliance.identity.upstream import UpstreamClient
from appliance.policy.vouching import Ages
from appliance.store.sessions import Sessions

if TYPE_CHECKING:
    from appliance.identity.directory import DirectoryClient

_HALF_S: Final = 300.0
_HALF_TRIES: Final = 5
_MOST_HALVES: Final = 10_000


class Keys:
    """The signing keys of a home, read again when their file is another."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._seen = (0, 0)
        self._ring = keys.KeyRing(keys.read(home))

    def ring(self) -> keys.KeyRing:
        """The keys of now. Raises signing-keys-bad."""
        found = self._home.signing_keys.stat()
        seen = (found.st_ino, found.st_mtime_ns)
        with self._lock:
            if seen != self._seen:
                self._ring = keys.KeyRing(keys.read(self._home))
                self._seen = seen
            return self._ring


@dataclass(slots=True)
class Half:
    """Somebody whose first proof was right, and whose second proof is still to come."""

    person_id: str
    until: float
    means: str
    tries: int = 0


class Halves:
    """Those who are half signed in, by what their form carries. Kept in memory: a restart begins anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Half] = OrderedDict()

    def begin(self, person_id: str, means: str = "pwd") -> str:
        """What the form for the second proof carries; `means` is how they gave the first."""
        half = secrets.token_urlsafe(24)
        with self._lock:
            self._known[half] = Half(person_id, time.monotonic() + _HALF_S, means)
            while len(self._known) > _MOST_HALVES:
                self._known.popitem(last=False)
        return half

    def take(self, half: str) -> tuple[str, str] | None:
        """Whose it is and how they gave the first proof, for one try; None when it is over."""
        with self._lock:
            found = self._known.get(half)
            if found is None or found.until < time.monotonic() or found.tries >= _HALF_TRIES:
                self._known.pop(half, None)
                return None
            found.tries += 1
            return found.person_id, found.means

    def end(self, half: str) -> None:
        """It has been used."""
        with self._lock:
            self._known.pop(half, None)


@dataclass(slots=True)
class Services:
    """The parts that handlers share. `wake` makes whoever tells clients of sign-outs look again.

    `own_proxy` is whether others come by our own proxy, and so by our UNIX socket. `ages` is how long another source's
    word holds; `silent` are the sources that did not answer when it was last looked.
    """

    home: Home
    issuer: str
    inside: str
    sessions: Sessions
    keys: Keys
    pages: Pages
    wake: Callable[[], None]
    # Where people go who were on their way to nothing else.
    landing: str = "/account"
    throttle: Throttle = field(default_factory=Throttle)
    halves: Halves = field(default_factory=Halves)
    directory: DirectoryClient | None = None
    upstreams: dict[str, UpstreamClient] = field(default_factory=dict)
    journeys: Journeys = field(default_factory=Journeys)
    lock: threading.Lock = field(default_factory=threading.Lock)
    own_proxy: bool = False
    ages: Ages = field(default_factory=Ages)
    silent: frozenset[str] = frozenset()
    refusals: Refusals = field(init=False)
    challenges: Challenges = field(default_factory=Challenges)

    def __post_init__(self) -> None:
        self.refusals = Refusals(self.home)

    def provider(self, session: Session) -> Provider:
        """The protocol for one request."""
        return make_provider(session, self.keys.ring(), self.issuer)

    def user(self, session: Session, visit: Visit) -> User | None:
        """Who is signed in with a browser; None where nobody is."""
        found = self.signed_in(session, visit)
        return None if found is None else User.of(session, found[1].id, found[0].id)

    def signed_in(self, session: Session, visit: Visit) -> tuple[SignOn, Person] | None:
        """The sign-on in a browser, and whose it is."""
        secret = kept(visit, self.issuer, SESSION)
        return sign_on.current(session, secret) if secret else None

    def waits(self, attempt: Attempt) -> float:
        """For how many seconds a try to sign in is not allowed yet; 0 when it is."""
        with self.lock:
            return self.throttle.wait_s(attempt, time.monotonic())

    def was_wrong(self, attempt: Attempt) -> None:
        """A try was wrong."""
        with self.lock:
            self.throttle.wrong(attempt, time.monotonic())

    def was_right(self, attempt: Attempt) -> None:
        """A try was right."""
        with self.lock:
            self.throttle.right(attempt)

    def say(self, visit: Visit) -> dict[str, str]:
        """The words of the language that somebody has chosen, or that their browser would rather have."""
        return self.pages.say(self.language(visit))

    def language(self, visit: Visit) -> str:
        """That language."""
        return self.pages.language(visit.languages, kept(visit, self.issuer, LANGUAGE))

    def ended(self, provider: Provider) -> None:
        """After its transaction: tell everybody of what a request had to end, and put it into the log."""
        if not provider.ended:
            return
        self.sessions.tell()
        self.wake()
        for family, why in provider.ended:
            note("tokens-ended", "", family=family.id, client=family.client_id, why=why)
