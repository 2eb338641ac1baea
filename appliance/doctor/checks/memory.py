"""Memory that is left, within what a container allows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import psutil

from appliance.doctor.check import Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation
from appliance.hardware import cgroup
from appliance.units import MIB, show_bytes

_LEAST: Final = 300 * MIB
_LEAST_SHARE: Final = 0.03


def look(situation: Situation) -> Iterator[Finding]:
    """Whether memory is short."""
    machine = psutil.virtual_memory()
    total, left = cgroup.within(machine.total, machine.available, situation.tree)
    if left < max(_LEAST, _LEAST_SHARE * total):
        words = f"{show_bytes(left)} of {show_bytes(total)} of memory are left."
        yield Finding("memory-low", words, facts={"available": left, "total": total})


CHECK = Check("memory", "Memory is enough.", look)
