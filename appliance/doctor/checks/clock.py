"""The clock: whether something keeps it right, and whether it is behind what is on record already."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from appliance.doctor.check import DATABASE, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import CURRENT, Situation
from appliance.store import schema
from appliance.units import show_duration, show_instant

_NEWEST: Final = (
    "SELECT max(coalesce((SELECT max(started_at) FROM call), 0),"
    " coalesce((SELECT at FROM audit_event ORDER BY seq DESC LIMIT 1), 0))"
)
# Clocks are put right by fractions of a second.
_BEHIND_US: Final = 60_000_000
# adjtimex(2): the clock is not kept right by anything; and a struct timex with room to spare.
_TIME_ERROR: Final = 5
_TIMEX_BYTES: Final = 512


def look(situation: Situation) -> Iterator[Finding]:
    """Whether the clock can be trusted."""
    if not is_kept_right():
        yield Finding("clock-alone", "Nothing keeps this machine's clock right, as far as the kernel knows.")
    if situation.database == CURRENT:
        with closing(schema.read_only(situation.home.database)) as connection:
            newest = connection.execute(_NEWEST).fetchone()[0]
        behind = newest - situation.now
        if behind > _BEHIND_US:
            words = f"The clock is at least {show_duration(behind / 1e6)} behind: {show_instant(newest)} is on record."
            yield Finding("clock-behind", words, facts={"seconds": behind // 1_000_000})


def is_kept_right() -> bool:
    """Whether the kernel says that its clock is synchronized; True where it does not let us ask."""
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES)) != _TIME_ERROR)


CHECK = Check("clock", "The clock is right.", look, needs=frozenset({DATABASE}))
