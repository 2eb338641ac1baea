"""Refused sign-ins on the audit log: the first of a kind before its answer goes out, its repeats counted.

A kind is where somebody comes from and why they are refused, not for whom they try: else whoever guesses would make a
row with each guess, and the time of an answer would tell which addresses have an account.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.audit.writer import MANY, MOST_KINDS, WINDOW_S
from appliance.config.paths import Home
from appliance.units import now_us, show_instant

# Whoever has no account is on record by no name: people type passwords into the wrong field.
NOBODY: Final = "nobody here"
_MOST_NAMES: Final = 8
_RETRY_S: Final = 10.0


@dataclass(slots=True)
class _Kind:
    """Refusals of one kind: until when they are counted, since when, how many after the first, and for whom."""

    until: float
    since_us: int
    count: int = 0
    logins: dict[str, None] = field(default_factory=dict)


class Refusals:
    """Puts refused sign-ins on record. Times are seconds of a clock that never goes back."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def put(self, network: str, code: str, login: str, now: float) -> None:
        """Somebody from a network was refused, for a reason, as `login`, empty for nobody who has an account.

        Raises audit-unavailable or disk-full: then the refusal is not on record, and must not be answered as one.
        """
        with self._lock:
            kind = (network, code)
            if kind not in self._kinds and len(self._kinds) >= MOST_KINDS:
                kind = (MANY, code)
            known = self._kinds.get(kind)
            if known is None:
                self._write(kind, login or NOBODY)
                self._kinds[kind] = _Kind(now + WINDOW_S, now_us())
                return
            known.count += 1
            if len(known.logins) < _MOST_NAMES:
                known.logins[login or NOBODY] = None

    def settle(self, now: float | None) -> None:
        """Write what was counted of each kind whose minute is over; of every kind when `now` is None.

        Raises as `put` does; what could not be written is kept for the next time.
        """
        with self._lock:
            for kind, known in list(self._kinds.items()):
                if now is not None and known.until > now:
                    continue
                # Where it cannot be written, the next try is a while away.
                known.until = (now or 0.0) + _RETRY_S
                if known.count:
                    self._write(kind, ", ".join(known.logins), known)
                del self._kinds[kind]

    def _write(self, kind: tuple[str, str], target: str, repeats: _Kind | None = None) -> None:
        network, code = kind
        with acting(self._home, network) as acts:
            if repeats is None:
                acts.note(Action.SIGN_IN_REFUSED, target, code=code)
            else:
                since = show_instant(repeats.since_us)
                acts.note(Action.SIGN_IN_REFUSED, target, code=code, count=repeats.count, since=since)
