"""Who is away at another provider to sign in: kept by the browser itself, under our seal.

The browser that comes back must be the one that left, and each journey ends once. What it carries is useless to
anybody else; a restart of sign-on makes all journeys begin anew.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Final

LONGEST_S: Final = 600
_MOST_ENDED: Final = 50_000
# A cookie has at most 4096 bytes: whoever would go on to a longer address begins at their own page.
_LONGEST_TO: Final = 2000


@dataclass(frozen=True, slots=True)
class Journey:
    """One sign-in that has gone to another provider. `until` in seconds since 1970; `to` is where it goes on.

    `again`: they are to prove anew who they are, and not only that they did so at some time.
    """

    provider: str
    state: str
    nonce: str
    verifier: str
    to: str
    until: float
    again: bool


class Journeys:
    """Begins and ends journeys. For use by several threads."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._ended: OrderedDict[str, float] = OrderedDict()

    def begin(self, provider: str, to: str, *, again: bool) -> tuple[Journey, str]:
        """A journey, and what the browser keeps of it."""
        made = Journey(
            provider=provider,
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            to=to if len(to) <= _LONGEST_TO else "",
            until=time.time() + LONGEST_S,
            again=again,
        )
        text = base64.urlsafe_b64encode(json.dumps(asdict(made)).encode()).decode().rstrip("=")
        return made, f"{text}.{self._seal(text)}"

    def end(self, kept: str, provider: str, state: str) -> Journey | None:
        """The journey that a browser comes back from, once; None where it is none of ours, another's, old or over."""
        text, _, seal = kept.partition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(text).encode()):
            return None
        found = Journey(**json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))
        is_right = hmac.compare_digest(found.state.encode(), state.encode()) and found.provider == provider
        return found if is_right and found.until >= time.time() and self._first(found) else None

    def _first(self, one: Journey) -> bool:
        with self._lock:
            if one.state in self._ended:
                return False
            self._ended[one.state] = one.until
            while len(self._ended) > _MOST_ENDED or next(iter(self._ended.values())) < time.time():
                self._ended.popitem(last=False)
        return True

    def _seal(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
