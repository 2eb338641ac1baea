"""What is to run on this machine: the deployment and the list of processes, from settings and facts."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import resources

from appliance.artifacts import gguf
from appliance.artifacts.shelf import Shelf
from appliance.catalog.models import Catalogue, Model, parse
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.config.version import VERSION
from appliance.deployment import Deployment, Engine
from appliance.engine.arguments import EnginePlan
from appliance.engine.location import find
from appliance.engine.process import engine_process
from appliance.hardware.probe import probe
from appliance.selector.choose import Choice, choose
from appliance.supervise.spec import Probe, ProcessSpec


@dataclass(frozen=True, slots=True)
class Plan:
    """What `up` will start: what the request path is to know, and the processes in their order."""

    deployment: Deployment
    processes: tuple[ProcessSpec, ...]


def catalogue() -> Catalogue:
    """The models that this version knows."""
    return parse((resources.files("appliance.catalog") / "models.toml").read_text())


def chosen_model(settings: Settings) -> Model | None:
    """The model that this machine is to run; None when the engine is somebody else's."""
    chat = settings.engines.get("chat")
    if chat is None or chat.url is not None:
        return None
    return choose(chat, catalogue(), probe()).model


def make_plan(home: Home, settings: Settings) -> Plan:
    """Decide what runs. Raises model-unknown, model-missing, model-truncated, model-not-gguf or engine-missing."""
    engines: list[Engine] = []
    processes: list[ProcessSpec] = []
    for role, wanted in settings.engines.items():
        if wanted.url is not None:
            continue
        choice = choose(wanted, catalogue(), probe())
        engine = _engine(home, role, choice)
        engines.append(engine)
        processes.append(_engine_process(home, engine, choice.threads))
    return Plan(Deployment(VERSION, tuple(engines)), (*processes, _gateway_process(home, settings)))


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
