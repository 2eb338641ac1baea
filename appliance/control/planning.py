"""Plan with what is at hand: this machine's facts or saved ones, the catalogue, the files that are here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from appliance.artifacts import gguf
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Catalogue
from appliance.catalog.shape import Shape
from appliance.config.paths import Home
from appliance.control import running
from appliance.control.fitting import without
from appliance.control.plan import catalogue
from appliance.engine.measure import memory_of
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.hardware.probe import probe
from appliance.hardware.saved import load
from appliance.proof import records
from appliance.proof.keys import machine_key
from appliance.selector.memory import Load, Need
from appliance.selector.places import Place, free_place, on_gpus, on_processor
from appliance.selector.plan import Measured, Placement, SetPlan, Upgrade, Wishes, plan_set, upgrade
from appliance.store.sessions import session


def facts(home: Home, saved: Path | None) -> Hardware:
    """This machine's facts, memory speed included, or those of a file. Raises hardware-file-bad.

    What our own engines hold of this machine counts as free: they would make room for what is planned.
    """
    return load(saved) if saved else _without_ours(home, probe(home.state, thorough=True))


def _without_ours(home: Home, hardware: Hardware) -> Hardware:
    pids, held = running.pids(home), 0
    for one in running.read(home):
        if one.process in pids:
            hardware = without(hardware, one, {pids[one.process]})
            # One that has just ended holds nothing.
            with suppress(ApplianceError):
                held += memory_of(pids[one.process])[0]
    available = hardware.memory_available
    return replace(hardware, memory_available=available and min(hardware.memory, available + held))


def chosen(home: Home, role: str = "") -> tuple[Placement, ...]:
    """The models that this machine is to run together, or that of one role. Raises model-too-large for none."""
    models = plan(home, facts(home, None), Wishes())[0].models
    found = tuple(one for one in models if role in ("", one.model.role))
    if not found:
        raise ApplianceError(
            "model-too-large",
            f"No model for {role or 'chat'} fits this machine beside the others.",
            "`appliance models plan` shows why.",
        )
    return found


def plan(home: Home, hardware: Hardware, wishes: Wishes) -> tuple[SetPlan, Upgrade | None]:
    """The models for a machine, and what more memory would buy. Raises catalogue-bad and model-not-gguf."""
    known = catalogue(home)
    found = plan_set(known, hardware, wishes, _shapes(home, known), _measured(home, hardware))
    return found, upgrade(known, hardware, wishes, found)


def fit(file: Path, load: Load, hardware: Hardware) -> tuple[Need, Place, bool]:
    """What one file needs, what there is, and whether it fits: on the GPUs as a whole if there are any.

    Raises model-missing or model-not-gguf.
    """
    shape, place = gguf.shape(file), free_place(hardware)
    if place.gpus:
        taken = on_gpus(shape, load, place)
        if place.has_room_for(taken):
            return taken, place, True
    taken = on_processor(shape, load, hardware)
    processor = Place(place.host)
    return taken, processor, processor.has_room_for(taken)


def _measured(home: Home, hardware: Hardware) -> dict[str, Measured]:
    """What was measured on this machine; nothing of one whose facts come from a file, unless it is this one."""
    if not home.database.exists():
        return {}
    with session(home.database) as opened:
        return {
            model: Measured(
                load=Load(one.context, one.slots, one.kv),
                on_gpu=bool(one.offloaded),
                planned=one.planned_gpu if one.offloaded else one.planned_host,
                taken=one.taken_gpu if one.offloaded else one.taken_host,
                alone=one.alone_speed,
                together=one.together_speed,
            )
            for model, one in records.all_measured(opened, machine_key(hardware)).items()
            if one.role in ("chat", "small")
        }


def _shapes(home: Home, known: Catalogue) -> dict[str, Shape]:
    shelf = Shelf(home.models)
    return {model.id: gguf.shape(shelf.path(model)) for model in known.models if model.sha256 and shelf.has(model)}
