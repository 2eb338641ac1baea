"""Have a role served by another model: decide how it is to run, exchange it if the box is up, and keep the choice."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
from appliance.control.up import note_settings
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.hardware.probe import probe
from appliance.proof.tables import Proof
from appliance.selector.choose import Choice, check_role, choose
from appliance.store.locks import turn
from appliance.supervise.where import read_report, supervisor_pid


@dataclass(frozen=True, slots=True)
class Used:
    """How it ended: the choice that is in the settings now, and the proof if the box is up."""

    choice: Choice
    proof: Proof | None
    was_in_use: bool = False


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
    wish = _wish(home, settings, model, role, context, slots)
    with turn(home.run / TURN):
        if supervisor_pid(home.run) is None:
            choice = _fitted(home, wish, probe(), ())
            _keep(home, role, choice)
            return Used(choice, None)
        recover(home, settings.gateway)
        old = next((one for one in running.read(home) if one.plan.role == role), None)
        others = tuple(one for one in running.read(home) if one.plan.role != role)
        hardware = probe()
        then = without(hardware, _pids(home, old))
        choice = _fitted(home, wish, then, others)
        room = Room(then, offloads=offloads(), taken=sum(one.room for one in others))
        engine, planned = plan_engine(home, role, choice, room, other_process(home, role))
        if old is not None and _same(old, planned):
            _keep(home, role, choice)
            return Used(choice, None, was_in_use=True)
        beside = old is None or fits_beside(planned, hardware)
        exchange = Exchange(engine, planned, engine_process_of(home, planned), beside)
        proof = switch(home, settings.gateway, exchange, lambda: _keep(home, role, choice), told)
        return Used(choice, proof)


def _wish(home: Home, settings: Settings, model: Model, role: Role, context: int | None, slots: int | None) -> Choice:
    wanted = settings.engines.get(role, EngineSettings())
    changed = {"model": model.id, "context": context, "slots": slots}
    wanted = wanted.model_copy(update={key: value for key, value in changed.items() if value is not None})
    return choose(role, wanted, catalogue(home), probe())


def _fitted(home: Home, wish: Choice, hardware: Hardware, others: tuple[Planned, ...]) -> Choice:
    shelf = Shelf(home.models)
    return fitted(gguf.shape(shelf.path(shelf.known(wish.model))), wish, hardware, others, offloads=offloads())


def _pids(home: Home, old: Planned | None) -> set[int]:
    report = read_report(home.run)
    processes = report.processes if report and old else ()
    return {one.pid for one in processes if one.pid is not None and old and one.name == old.process}


def _same(old: Planned, new: Planned) -> bool:
    """Whether what runs is what is wanted: all but where it listens."""
    return old.plan == replace(new.plan, socket=old.plan.socket)


def _keep(home: Home, role: Role, choice: Choice) -> None:
    """Write the choice into the settings, and note that this is what runs."""
    values: dict[str, str | int] = {"model": choice.model.id, "context": choice.context, "slots": choice.slots}
    wanted = load(home.config).engines.get(role)
    if choice.kv != (wanted.kv if wanted else "f16"):
        values["kv"] = choice.kv
    set_engine(home.config, role, values)
    if supervisor_pid(home.run) is not None:
        note_settings(home, load(home.config))
