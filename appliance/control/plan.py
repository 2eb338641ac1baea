"""What is to run on this machine: the deployment and the list of processes, from settings and facts."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from appliance.artifacts import gguf
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Catalogue, Model, parse
from appliance.catalog.shape import Shape
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.config.version import VERSION
from appliance.deployment import Deployment, Engine
from appliance.engine.arguments import EnginePlan
from appliance.engine.location import find
from appliance.engine.process import engine_process
from appliance.errors import ApplianceError
from appliance.hardware.facts import Hardware
from appliance.hardware.probe import probe
from appliance.selector.choose import Choice, choose
from appliance.selector.memory import Load
from appliance.selector.places import free_place, host_taken, on_processor
from appliance.supervise.spec import Probe, ProcessSpec
from appliance.units import show_bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` will start: what the request path is to know, and the processes in their order."""

    deployment: Deployment
    processes: tuple[ProcessSpec, ...]


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


def chosen_model(home: Home, settings: Settings) -> Model | None:
    """The model that this machine is to run; None when the engine is somebody else's."""
    chat = settings.engines.get("chat")
    if chat is None or chat.url is not None:
        return None
    return choose(chat, catalogue(home), probe()).model


def make_plan(home: Home, settings: Settings) -> Plan:
    """Decide what runs.

    Raises catalogue-bad, model-unknown, model-cannot-chat, model-missing, model-truncated, model-not-gguf,
    model-too-large or engine-missing.
    """
    engines: list[Engine] = []
    processes: list[ProcessSpec] = []
    for role, wanted in settings.engines.items():
        if wanted.url is not None:
            continue
        hardware = probe()
        choice = choose(wanted, catalogue(home), hardware)
        engine = _engine(home, role, choice)
        insist_on_room(gguf.shape(Path(str(engine.file))), choice, hardware)
        engines.append(engine)
        processes.append(_engine_process(home, engine, choice.threads))
    return Plan(Deployment(VERSION, tuple(engines)), (*processes, _gateway_process(home, settings)))


def insist_on_room(shape: Shape, choice: Choice, hardware: Hardware) -> None:
    """Raises model-too-large where this machine's memory, were it all free, could not hold a model so run."""
    whole = free_place(replace(hardware, memory_available=hardware.memory))
    wanted = host_taken(on_processor(shape, Load(choice.context, choice.slots), hardware))
    if wanted > whole.host:
        raise ApplianceError(
            "model-too-large",
            f"{choice.model.title} with {choice.slots} x {choice.context} tokens needs {show_bytes(wanted)} of memory, "
            f"and this machine can give {show_bytes(whole.host)}.",
            "Lower `context` or `slots` in the settings, or choose a model that fits: `appliance models plan`.",
        )


def _engine(home: Home, role: str, choice: Choice) -> Engine:
    shelf = Shelf(home.models)
    model = shelf.known(choice.model)
    file = shelf.path(model)
    gguf.check(file, model.size)
    return Engine(
        role=role,
        model=model.id,
        names=(role, model.id),
        upstream_model=model.id,
        socket=str(home.socket(role)),
        context=choice.context,
        slots=choice.slots,
        file=str(file),
        sha256=model.sha256,
        trial=model.trial,
    )


def _engine_process(home: Home, engine: Engine, threads: int) -> ProcessSpec:
    assert engine.socket and engine.file and engine.context and engine.slots
    plan = EnginePlan(engine.role, engine.model, engine.file, engine.socket, engine.context, engine.slots, threads)
    return engine_process(find(), plan, home.logs / f"{engine.role}.log")


def _gateway_process(home: Home, settings: Settings) -> ProcessSpec:
    # -P: a folder named `appliance` where `up` was typed must not become the code that runs.
    python = (sys.executable, "-P", "-m", "appliance", "--config", str(home.config), "--state", str(home.state))
    return ProcessSpec(
        name="serve",
        argv=(*python, "serve"),
        # Alive is enough: whether an engine behind a URL answers is no business of a restart.
        probe=Probe(path="/health", host=settings.gateway.host, port=settings.gateway.port),
        log=str(home.logs / "serve.log"),
    )
