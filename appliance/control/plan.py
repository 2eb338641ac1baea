"""What is to run on this machine: the deployment and the list of processes, from settings and facts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from appliance.artifacts import gguf
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Catalogue, Model, parse
from appliance.chat import install, process
from appliance.config.paths import Home, cache_folder
from appliance.config.settings import Role, Settings
from appliance.config.version import VERSION
from appliance.control import exposure, lan
from appliance.control.room import Room
from appliance.control.running import Planned
from appliance.control.tuned import tuned_for, with_tuned
from appliance.deployment import Deployment, Engine
from appliance.engine.arguments import EnginePlan
from appliance.engine.location import find, installed
from appliance.engine.process import engine_process
from appliance.errors import ApplianceError
from appliance.hardware.probe import probe
from appliance.selector.choose import Choice, choose
from appliance.selector.memory import kv_bytes, reserved_bytes, state_bytes
from appliance.selector.places import host_taken
from appliance.supervise.spec import Probe, ProcessSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` will start: what the request path is to know, the processes in their order, and how engines are run."""

    deployment: Deployment
    processes: tuple[ProcessSpec, ...]
    engines: tuple[Planned, ...] = ()


def catalogue(home: Home | None = None) -> Catalogue:
    """The models that this version knows, and those that the admin of a home has added. Raises catalogue-bad."""
    packaged = (resources.files("appliance.catalog") / "models.toml").read_text()
    return parse(packaged, _local_models(home.local_models) if home else "")


def _local_models(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ApplianceError(
            "catalogue-bad", f"{path} cannot be read: {error}.", "Check the file's owner, rights and encoding."
        ) from error


def chosen_model(home: Home, settings: Settings, role: Role = "chat") -> Model | None:
    """The model that this machine is to run for a role; None when the engine is somebody else's or there is none."""
    wanted = settings.engines.get(role)
    if wanted is None or wanted.url is not None:
        return None
    return choose(role, wanted, catalogue(home), probe()).model


def make_plan(home: Home, settings: Settings) -> Plan:
    """Decide what runs.

    Raises catalogue-bad, model-unknown, model-cannot-chat, model-cannot-serve, model-missing, model-truncated,
    model-not-gguf, model-too-large, engine-missing, chat-page-missing, lan-insecure, caddy-missing or avahi-missing.
    """
    exposure.check(settings)
    ours = {role: wanted for role, wanted in settings.engines.items() if wanted.url is None}
    engines: list[Engine] = []
    planned: list[Planned] = []
    if ours:
        known, hardware = catalogue(home), probe()
        room = Room(hardware, offloads=offloads())
        for role, wanted in ours.items():
            choice = choose(role, wanted, known, hardware, ours.keys() - {role})
            found = tuned_for(home, hardware, choice.model.id)
            tuned = with_tuned(choice, wanted, found, hardware.cores)
            engine, one = plan_engine(home, role, choice, room, tuned=tuned)
            engines.append(engine)
            planned.append(one)
    faces = (
        _gateway_process(home, settings),
        *_identity_process(home, settings),
        *_chat_processes(home, settings),
        *lan.processes(home, settings),
    )
    processes = (*(engine_process_of(home, one) for one in planned), *faces)
    return Plan(Deployment(VERSION, tuple(engines)), processes, tuple(planned))


def offloads() -> bool:
    """Whether the installed engine can use graphics cards. Raises engine-missing."""
    return installed().backend != "cpu"


def plan_engine(
    home: Home, role: Role, choice: Choice, room: Room, process: str = "", *, tuned: Choice | None = None
) -> tuple[Engine, Planned]:
    """One engine: what the request path is to know of it, and how it is run; as `tuned` where there is room for that.

    Raises model-missing, model-truncated, model-not-gguf or model-too-large.
    """
    process = process or role
    model, file = _file(home, choice.model)
    shape = gguf.shape(file)
    if tuned is not None:
        choice = room.better(shape, tuned, choice)
    engine = _engine(home, role, replace(choice, model=model), file, process)
    assert engine.socket and engine.file
    seat = room.seat(shape, choice)
    load = choice.load
    plan = EnginePlan(
        role, engine.model, engine.file, engine.socket, choice.context, choice.slots, choice.threads, choice.kv,
        options=choice.options, on_gpu=seat.on_gpu,
    )  # fmt: skip
    return engine, Planned(
        process,
        plan,
        host=seat.need.host_bytes,
        room=host_taken(seat.need),
        gpu=sum(seat.need.device_bytes),
        context=kv_bytes(shape, load) + state_bytes(shape, load.slots),
        compute=reserved_bytes(shape, load),
        off_gpu=seat.off_gpu,
    )


def engine_process_of(home: Home, one: Planned) -> ProcessSpec:
    """The process of a planned engine. Raises engine-missing."""
    return engine_process(find(), one.plan, home.logs / f"{one.process}.log", one.process, one.room)


def _file(home: Home, chosen: Model) -> tuple[Model, Path]:
    """A model as the shelf knows it, and its file. Raises model-missing, model-truncated or model-not-gguf."""
    shelf = Shelf(home.models)
    model = shelf.known(chosen)
    file = shelf.path(model)
    gguf.check(file, model.size)
    return model, file


def _engine(home: Home, role: Role, choice: Choice, file: Path, process: str) -> Engine:
    model = choice.model
    return Engine(
        role=role,
        model=model.id,
        names=(role, model.id),
        upstream_model=model.id,
        socket=str(home.socket(process)),
        context=choice.context,
        slots=choice.slots,
        file=str(file),
        sha256=model.sha256,
        trial=model.trial,
        process=process,
    )


def _gateway_process(home: Home, settings: Settings) -> ProcessSpec:
    return ProcessSpec(
        name="serve",
        argv=(*_ourselves(home), "serve"),
        # Alive is enough: whether an engine behind a URL answers is no business of a restart.
        probe=Probe(path="/health", host=settings.gateway.host, port=settings.gateway.port),
        log=str(home.logs / "serve.log"),
    )


def _identity_process(home: Home, settings: Settings) -> tuple[ProcessSpec, ...]:
    """Sign-on, where it is switched on."""
    identity = settings.identity
    if not identity.enabled:
        return ()
    return (
        ProcessSpec(
            name="identity",
            argv=(*_ourselves(home), "identity"),
            probe=Probe(path="/health", host=identity.host, port=identity.port),
            log=str(home.logs / "identity.log"),
            # Hashing a password takes a core for a while: answers that stream come first.
            nice=5,
        ),
    )


def _chat_processes(home: Home, settings: Settings) -> tuple[ProcessSpec, ...]:
    """The chat page, where it is switched on. Raises chat-page-missing."""
    if not settings.chat.enabled:
        return ()
    return process.processes(home, settings.chat, install.find(cache_folder()), process.redis_program())


def _ourselves(home: Home) -> tuple[str, ...]:
    """The beginning of a command line of ours."""
    # -P: a folder named `appliance` where `up` was typed must not become the code that runs.
    return (sys.executable, "-P", "-m", "appliance", "--config", str(home.config), "--state", str(home.state))
