"""The audit log: whether all that was put on record is there and unchanged."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.audit import reading
from appliance.doctor.check import DATABASE, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation


def look(situation: Situation) -> Iterator[Finding]:
    """The first thing that is wrong with it."""
    fault = reading.verify(situation.home).fault
    if fault is not None:
        words = f"The audit log is damaged. {fault.words}"
        yield Finding("audit-damaged", words, str(fault.trouble), facts={"seq": fault.seq, "until": fault.until})


CHECK = Check("audit", "The audit log is whole.", look, needs=frozenset({DATABASE}), limit_s=300.0)
