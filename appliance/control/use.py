"""Have a role served by another model: decide how it is to run, exchange it if the box is up, and keep the choice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from appliance.artifacts import gguf
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Model
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.config.settings import EngineSettings, Role, Settings
from appliance.control import running
from appliance.control.edit import check_writable, set_engine
from appliance.control.fitting import fits_beside, fitted, without
from appliance.control.plan import catalogue, engine_process_of, offloads, plan_engine
from appliance.control.room import Room
from appliance.control.running import Planned
from appliance.control.switch import TURN, Exchange, Told, other_process, recover, switch
from appliance.control.tuned import tuned_for, with_tuned
from appliance.control.up import note_settings
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.hardware.probe import probe
from appliance.proof.tables import Proof
from appliance.selector.choose import Choice, check_role, choose
from appliance.store.locks import turn
from appliance.supervise.where import supervisor_pid


@dataclass(frozen=True, slots=True)
class Used:
    """How it ended: the choice that is in the settings now, and the proof if the box is up."""

    choice: Choice
    proof: Proof | None
    was_in_use: bool = False


@dataclass(frozen=True, slots=True)
class _Wish:
    """A model for a role on this machine: as wished, as it would be had nobody `named` anything, and as tuned."""

    role: Role
    hardware: Hardware
    choice: Choice
    plain: Choice
    tuned: Choice
    named: frozenset[str]


def check(home: Home, settings: Settings, model: Model, role: Role) -> None:
    """What can be known before anything is fetched. Raises model-cannot-chat, model-cannot-serve and the like."""
    check_role(model, role)
    check_writable(home.config)
    wanted = settings.engines.get(role)
    if wanted is not None and wanted.url is not None:
        raise ApplianceError(
            "wrong-use",
            f"The role '{role}' is served by another server, at {wanted.url}.",
            f"Take `url` out of [engines.{role}] in {home.config} first.",
        )


def use(
    home: Home, settings: Settings, model: Model, role: Role, context: int | None, slots: int | None, told: Told
) -> Used:
    """Serve a role by a model that is on the shelf; `context` and `slots` are the settings' unless given.

    Raises model-missing, model-too-large, and what the exchange raises; then everything is as it was.
    """
    check(home, settings, model, role)
    with turn(home.run / TURN):
        wish = _wish(home, settings, model, role, context, slots)
        if supervisor_pid(home.run) is None:
            choice = _fitted(home, wish.choice, wish.hardware, ())
            _keep(home, wish, choice)
            return Used(choice, None)
        recover(home, settings.gateway)
        found = _exchanged(home, settings, wish, told)
        _share_cores(home, role, told)
        return found


def _share_cores(home: Home, changed: Role, told: Told) -> None:
    """Have the engines of other roles take the threads that are theirs now; one that cannot keeps what it has."""
    settings = load(home.config)
    for one in running.read(home):
        role = cast("Role", one.plan.role)
        wanted = settings.engines.get(role)
        if role == changed or one.plan.on_gpu or wanted is None or wanted.url is not None:
            continue
        wish = _wish(home, settings, catalogue(home).get(one.plan.model), role, None, None)
        if wish.tuned.threads == one.plan.threads:
            continue
        told(f"{wish.choice.model.title} shares the cores now: {wish.tuned.threads} threads for {role}")
        try:
            _exchanged(home, settings, wish, told)
        except ApplianceError as error:
            told(f"It keeps its {one.plan.threads} threads until the next `appliance up`: {error.sentence}")


def _exchanged(home: Home, settings: Settings, wish: _Wish, told: Told) -> Used:
    """Have what runs exchanged, and keep the choice once it serves."""
    role = wish.role
    old = next((one for one in running.read(home) if one.plan.role == role), None)
    others = tuple(one for one in running.read(home) if one.plan.role != role)
    then = without(wish.hardware, old, {running.pids(home).get(old.process, 0)}) if old else wish.hardware
    choice = _fitted(home, wish.choice, then, others)
    room = Room(then, offloads=offloads(), taken=sum(one.room for one in others))
    # What tuning found is for the model as it was wished; one that had to shrink is another.
    tuned = wish.tuned if choice == wish.choice else None
    engine, planned = plan_engine(home, role, choice, room, other_process(home, role), tuned=tuned)
    if old is not None and _same(old, planned):
        _keep(home, wish, choice)
        return Used(choice, None, was_in_use=True)
    beside = old is None or fits_beside(planned, wish.hardware)
    exchange = Exchange(engine, planned, engine_process_of(home, planned), beside)
    proof = switch(home, settings.gateway, exchange, lambda: _keep(home, wish, choice), told)
    return Used(replace(choice, slots=planned.plan.slots, kv=planned.plan.kv), proof)


def _wish(home: Home, settings: Settings, model: Model, role: Role, context: int | None, slots: int | None) -> _Wish:
    changed = {"model": model.id, "context": context, "slots": slots}
    wanted = settings.engines.get(role, EngineSettings()).model_copy(
        update={name: value for name, value in changed.items() if value is not None}
    )
    known, hardware = catalogue(home), probe()
    beside = {other for other, one in settings.engines.items() if one.url is None and other != role}
    choice = choose(role, wanted, known, hardware, beside)
    return _Wish(
        role,
        hardware,
        choice,
        plain=choose(role, EngineSettings(model=model.id), known, hardware, beside),
        tuned=with_tuned(choice, wanted, tuned_for(home, hardware, model.id), hardware.cores),
        named=frozenset(wanted.model_fields_set),
    )


def _fitted(home: Home, wish: Choice, hardware: Hardware, others: tuple[Planned, ...]) -> Choice:
    shelf = Shelf(home.models)
    return fitted(gguf.shape(shelf.path(shelf.known(wish.model))), wish, hardware, others, offloads=offloads())


def _same(old: Planned, new: Planned) -> bool:
    """Whether what runs is what is wanted: all but where it listens."""
    return old.plan == replace(new.plan, socket=old.plan.socket)


def _keep(home: Home, wish: _Wish, choice: Choice) -> None:
    """Write the choice into the settings, and note that this is what runs.

    What nobody has named, and nothing had to shrink, stays open for tuning to find.
    """
    values: dict[str, str | int] = {"model": choice.model.id}
    for name in ("context", "slots", "kv"):
        value = getattr(choice, name)
        if name in wish.named or value != getattr(wish.plain, name):
            values[name] = value
    set_engine(home.config, wish.role, values)
    if supervisor_pid(home.run) is not None:
        note_settings(home, load(home.config))
