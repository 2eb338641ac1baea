"""Plan with what is at hand: this machine's facts or saved ones, the catalogue, the files that are here."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Never

from appliance.artifacts import gguf
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Catalogue
from appliance.catalog.shape import Shape
from appliance.config.paths import Home
from appliance.control import running
from appliance.control.fitting import without
from appliance.control.plan import catalogue
from appliance.control.running import Planned
from appliance.engine.measure import memory_of
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.hardware.probe import probe
from appliance.hardware.saved import load
from appliance.proof import records
from appliance.proof.keys import machine_key
from appliance.selector.memory import Load, Need
from appliance.selector.places import Place, free_place, on_gpus, on_processor
from appliance.selector.plan import Measured, Placement, SetPlan, Upgrade, Wishes, plan_one, plan_set, upgrade
from appliance.store.sessions import session


def facts(home: Home, saved: Path | None) -> Hardware:
    """This machine's facts, memory speed included, or those of a file. Raises hardware-file-bad.

    What our own engines hold of this machine counts as free: they would make room for what is planned.
    """
    return load(saved) if saved else _without(home, probe(home.state, thorough=True), running.read(home))


def _without(home: Home, hardware: Hardware, ours: tuple[Planned, ...]) -> Hardware:
    """The machine without these engines of ours."""
    pids, held = running.pids(home), 0
    for one in ours:
        if one.process in pids:
            hardware = without(hardware, one, {pids[one.process]})
            # One that has just ended holds nothing.
            with suppress(ApplianceError):
                held += memory_of(pids[one.process])[0]
    available = hardware.memory_available
    return replace(hardware, memory_available=available and min(hardware.memory, available + held))


def chosen(home: Home) -> tuple[Placement, ...]:
    """The models that this machine is to run together. Raises model-too-large for none."""
    return plan(home, facts(home, None), Wishes())[0].models or _none_fits("chat")


def chosen_for(home: Home, role: str) -> tuple[Placement, ...]:
    """The best model for one role, beside those that run for the others. Raises model-too-large for none."""
    ours, now = running.read(home), probe(home.state, thorough=True)
    mine = tuple(one for one in ours if one.plan.role == role)
    # Others may take more of the host's memory than they have taken yet: what they were promised.
    hardware = replace(_without(home, now, ours), gpus=_without(home, now, mine).gpus)
    promised = sum(one.room for one in ours if one not in mine)
    known = catalogue(home)
    found = plan_one(known, hardware, role, Wishes(), promised, _shapes(home, known), _measured(home, hardware))
    return (found,) if found else _none_fits(role)


def _none_fits(role: str) -> Never:
    raise ApplianceError(
        "model-too-large",
        f"No model for {role} that needs nobody's yes fits this machine beside what runs on it.",
        f"`appliance models plan` shows the memory, `appliance models list --all --role {role}` all there are.",
    )


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
