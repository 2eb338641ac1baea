"""Challenges for passkeys: each is for one purpose and one browser, lasts five minutes, and is taken once.

Nothing is kept of one that is handed out, so that nobody can fill the memory by opening pages; a restart of sign-on
voids all.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from typing import Final

from appliance.accounts.passkeys import refused

LASTS_S: Final = 300
_NONCE: Final = 16
_TIME: Final = 8
_LENGTH: Final = _TIME + _NONCE + hashlib.sha256().digest_size
_MOST: Final = 10_000


class Challenges:
    """Makes and takes challenges. `purpose` says what one is for, `browser` is what only that browser sends."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._taken: OrderedDict[bytes, None] = OrderedDict()

    def make(self, purpose: str, browser: str) -> bytes:
        """A new challenge."""
        until = int(time.monotonic() + LASTS_S).to_bytes(_TIME)
        nonce = secrets.token_bytes(_NONCE)
        return until + nonce + self._proof(until + nonce, purpose, browser)

    def check(self, challenge: bytes, purpose: str, browser: str) -> None:
        """Raises sign-in-refused for one that is not ours, is over, or was taken."""
        head, proof = challenge[: _TIME + _NONCE], challenge[_TIME + _NONCE :]
        ours = len(challenge) == _LENGTH and hmac.compare_digest(proof, self._proof(head, purpose, browser))
        with self._lock:
            if not ours or int.from_bytes(head[:_TIME]) < time.monotonic() or challenge in self._taken:
                raise refused()

    def take(self, challenge: bytes) -> None:
        """It has been answered: of two who try at once, one gets it. Raises sign-in-refused."""
        with self._lock:
            if challenge in self._taken:
                raise refused()
            self._taken[challenge] = None
            while len(self._taken) > _MOST:
                self._taken.popitem(last=False)

    def _proof(self, head: bytes, purpose: str, browser: str) -> bytes:
        return hmac.digest(self._key, b"\0".join((head, purpose.encode(), browser.encode())), "sha256")
