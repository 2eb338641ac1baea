"""The processes: whether they run, stay up and answer, and whether nothing was left half done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.control.switch import is_cut_off
from appliance.doctor.check import SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation
from appliance.store.locks import holder
from appliance.supervise.process import answers
from appliance.supervise.spec import Probe
from appliance.units import show_instant

# So many starts are no accident any more.
_OFTEN: Final = 3


def look(situation: Situation) -> Iterator[Finding]:
    """What does not run, or not for long."""
    home, gateway = situation.home, situation.told.gateway
    if home.restoring.exists():
        yield Finding("restore-cut-off", "A restore was cut off, so settings and state may be of two times.")
    if situation.supervisor is None and holder(home.run / "serve.lock") is None:
        yield Finding("not-running", "The appliance is not running.")
        return
    for one in situation.report.processes if situation.report else ():
        if one.state not in ("ready", "ending"):
            words = f"'{one.name}' is {one.state} since {show_instant(one.since)}."
            yield Finding("process-not-ready", words, one.name, f"Look at `appliance logs {one.name}`.")
        elif one.restarts >= _OFTEN:
            words = f"'{one.name}' has ended and was started again {one.restarts} times."
            yield Finding("process-restarted", words, one.name, facts={"restarts": one.restarts})
    if not answers(Probe(path="/ready", host=gateway.host, port=gateway.port)):
        yield Finding("gateway-silent", "The gateway does not answer requests.")
    if situation.supervisor and is_cut_off(home):
        yield Finding("change-cut-off", "A change of models was cut off.")


CHECK = Check("processes", "Everything runs.", look, needs=frozenset({SETTINGS}))
