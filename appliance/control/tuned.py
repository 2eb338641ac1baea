"""What tuning has found for a model, for whoever plans how it is run."""

from __future__ import annotations

from dataclasses import replace

from appliance.config.paths import Home
from appliance.config.settings import EngineSettings
from appliance.hardware.facts import Hardware
from appliance.proof import tunings
from appliance.proof.keys import machine_key
from appliance.proof.tunings import Tuned
from appliance.selector.choose import Choice
from appliance.store.schema import is_current
from appliance.store.sessions import reading


def tuned_for(home: Home, hardware: Hardware, model_id: str) -> Tuned | None:
    """What tuning has found for a model on this machine; None where there was none. Changes nothing.

    Raises database-broken or state-read-only.
    """
    if not is_current(home.database):
        return None
    with reading(home.database) as opened:
        return tunings.newest(opened, machine_key(hardware), model_id)


def fixed(wanted: EngineSettings) -> frozenset[str]:
    """What the settings file has decided, so that tuning leaves it alone; threads of 0 are no decision."""
    named = wanted.model_fields_set & {"threads", "slots", "kv"}
    return frozenset(named if wanted.threads else named - {"threads"})


def with_tuned(choice: Choice, wanted: EngineSettings, tuned: Tuned | None, cores: int) -> Choice:
    """A choice with what was tuned in it, except for what the settings file names itself.

    Tuning has all of the machine's cores to itself: whoever shares them takes no more threads than its share.
    """
    if tuned is None:
        return choice
    found = {"threads": tuned.threads, "slots": tuned.slots, "kv": tuned.kv}
    changes = {name: value for name, value in found.items() if value is not None and name not in fixed(wanted)}
    if choice.threads < cores and tuned.threads is not None and "threads" in changes:
        changes["threads"] = min(tuned.threads, choice.threads)
    return replace(choice, options=tuned.options, **changes)  # type: ignore[arg-type]
