"""Codes of an authenticator app (TOTP, RFC 6238: six figures every 30 s), and codes for whoever has lost it."""

from __future__ import annotations

import hmac
from typing import Final

from pyotp import TOTP

STEP_S: Final = 30
# A clock may be off by one step, and typing takes a while.
_EITHER_SIDE: Final = 1
_FIGURES: Final = 6


def step_of(secret: str, code: str, now_s: float, last_step: int) -> int | None:
    """The step that a code belongs to; None for one that is wrong, or that was taken before.

    `secret` is in base32. A code counts in its own step, the one before and the one after, and only if its step is
    later than `last_step`, the last one that was taken: whoever has looked over a shoulder comes too late.
    """
    said = "".join(code.split())
    clock = TOTP(secret, digits=_FIGURES, interval=STEP_S)
    present = int(now_s) // STEP_S
    found = None
    for step in range(present - _EITHER_SIDE, present + _EITHER_SIDE + 1):
        same = hmac.compare_digest(clock.generate_otp(step).encode(), said.encode("utf-8", "replace"))
        if same and step > last_step:
            found = step
    return found


def address(secret: str, account: str, issuer: str) -> str:
    """What an authenticator app reads from a QR code."""
    return TOTP(secret, digits=_FIGURES, interval=STEP_S).provisioning_uri(name=account, issuer_name=issuer)


def recovery_code(code: str) -> str:
    """A recovery code in the one form that is hashed: without blanks and lines, in small letters."""
    return "".join(letter for letter in code.casefold() if letter.isalnum())
