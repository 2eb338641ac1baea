"""What an update may cost, and which step of it means what: as values (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Of the speed before, what a new version must reach.
LEAST_SPEED: Final = 0.9
# Of the processor, what other programs may use before a speed says nothing of a version.
BUSY_SHARE: Final = 0.25

VERIFY, CHECK, STAGE = "verify", "check", "stage"
DRAIN, STOP, COPY, MIGRATE, START, PROVE, SWITCH = "drain", "stop", "copy", "migrate", "start", "prove", "switch"
# The steps in their order. From `drain` on nobody is served; `switch` is the one moment at which it is decided.
STEPS: Final = (VERIFY, CHECK, STAGE, DRAIN, STOP, COPY, MIGRATE, START, PROVE, SWITCH)


def slower(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Why a version is too slow, by tokens a second and model; empty when it is not. What was not measured passes."""
    for model, speed in before.items():
        now = after.get(model, 0.0)
        if 0 < now < LEAST_SPEED * speed:
            return f"{model} writes {now:.1f} tokens a second, and {speed:.1f} before"
    return ""
