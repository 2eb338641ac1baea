"""Exchange the engine of a role while everybody is being served.

The new engine is started beside the old one, or, where memory is short, in its place while requests
wait. It is proved in brief; then the route changes; then the old one ends, once its last answer is out, and
the new one is measured. Until the route has changed any failure leaves the old engine serving. What an
exchange that was cut off has left is undone by the next `up` or `use`, from the journal in the run folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.config.paths import Home
from appliance.config.settings import GatewaySettings
from appliance.config.version import VERSION
from appliance.control import running
from appliance.control.changing import gateway_state, run_these, serve_these, wait_gone, wait_ready
from appliance.control.proving import prove_engine
from appliance.control.running import Planned
from appliance.deployment import Deployment, Engine, from_json
from appliance.engine.process import is_engine
from appliance.errors import ApplianceError
from appliance.proof.tables import Proof
from appliance.store import handover
from appliance.store.files import write_atomic
from appliance.store.locks import holder
from appliance.supervise import where
from appliance.supervise.spec import ProcessSpec, specs_from_json, specs_to_json

# Who decides what runs has this lock: one at a time.
TURN = "up.lock"
_POLL_S = 0.05
# Answers under way get this long before the engine under them may be ended: a long one on a slow machine.
_DRAIN_S = 900.0
# An engine that holds more memory than planned, or is not where it was planned, does not take over.
_REFUSED = ("gpu-not-used", "memory-over-plan")

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Exchange:
    """What is to change: the new engine, how it runs, its process, and whether it has room beside the old one."""

    engine: Engine
    planned: Planned
    spec: ProcessSpec
    beside: bool


def other_process(home: Home, role: str) -> str:
    """The name for the process of a role's next engine: another than that of the present one."""
    names = {one.run_by for one in handover.read(home.deployment).engines}
    return f"{role}-2" if role in names else role


def switch(home: Home, gateway: GatewaySettings, exchange: Exchange, commit: Callable[[], None], told: Told) -> Proof:
    """Exchange a role's engine; returns the new one's proof once it serves and the old one has ended.

    `commit` keeps the choice, once the new one serves. Raises process-failed, engine-unavailable, switch-refused,
    switch-failed, or what `commit` raises; then the old one serves as before.
    """
    work = _Switch(home, gateway, exchange, told)
    _write_journal(home, work.before)
    try:
        pid = work.take_over()
        commit()
    except BaseException:
        told("It did not work: going back to what was")
        work.undo()
        forget(home)
        raise
    # From here on the new one serves, and there is no way back but another exchange.
    forget(home)
    work.let_go()
    return prove_engine(home, exchange.planned, pid, told)


def recover(home: Home, gateway: GatewaySettings) -> None:
    """Undo an exchange that was cut off, or finish one. Call it with the turn of `up` in hand, while it is up."""
    if _journal(home).exists():
        _restore(home, gateway, _read_journal(home))
        forget(home)
    # Cut off after the new engine had taken over: the old one serves nobody.
    specs = specs_from_json((home.run / where.LIST).read_bytes())
    serving = {one.run_by for one in handover.read(home.deployment).engines}
    needed = tuple(spec for spec in specs if spec.name in serving or not is_engine(spec))
    if needed != specs:
        run_these(home, needed)


def forget(home: Home) -> None:
    """What an exchange that was cut off has left is of no use once all is started anew."""
    _journal(home).unlink(missing_ok=True)


def is_cut_off(home: Home) -> bool:
    """Whether an exchange was begun that nobody is working on any more."""
    return _journal(home).exists() and holder(home.run / TURN) is None


@dataclass(frozen=True, slots=True)
class _Before:
    """What served, and which processes ran, before an exchange."""

    deployment: Deployment
    specs: tuple[ProcessSpec, ...]


class _Switch:
    """One exchange."""

    def __init__(self, home: Home, gateway: GatewaySettings, exchange: Exchange, told: Told) -> None:
        self._home, self._gateway, self._exchange, self._told = home, gateway, exchange, told
        specs = specs_from_json((home.run / where.LIST).read_bytes())
        self.before = _Before(handover.read(home.deployment), specs)
        self._old = next((one for one in self.before.deployment.engines if one.role == exchange.engine.role), None)

    def take_over(self) -> int:
        """Start the new engine, prove that it works as planned, and change the route; returns its process."""
        specs = self.before.specs
        if self._old is not None and not self._exchange.beside:
            self._told("There is no room for both: requests wait until the new one is ready")
            self._route(replace(self._old, held=True))
            self._drain(lambda said: said["busy"].get(self._old.role if self._old else "", 0) + said["leaving"])
            specs = self._without_old(specs)
            run_these(self._home, specs)
            wait_gone(self._home, self._old.run_by)
        self._told(f"Starting {self._exchange.engine.model}")
        run_these(self._home, _with(specs, self._exchange.spec))
        pid = wait_ready(self._home, self._exchange.spec.name)
        proof = prove_engine(self._home, self._exchange.planned, pid, self._told, brief=True)
        if proof.alarm in _REFUSED:
            raise ApplianceError(
                "switch-refused",
                f"{proof.model} runs, but not as planned: {proof.cause}",
                "The old model still serves.",
            )
        self._route(self._exchange.engine)
        return pid

    def let_go(self) -> None:
        """End the old engine once its last answer is out."""
        others = tuple(one for one in running.read(self._home) if one.plan.role != self._exchange.engine.role)
        running.write(self._home, (*others, self._exchange.planned))
        if self._old is None:
            return
        if self._exchange.beside:
            self._told("Waiting for the old model's last answers")
            with suppress(ApplianceError):
                self._drain(lambda said: said["leaving"])
        run_these(self._home, self._without_old(_with(self.before.specs, self._exchange.spec)))
        wait_gone(self._home, self._old.run_by)

    def undo(self) -> None:
        """Put back what was."""
        _restore(self._home, self._gateway, self.before)

    def _without_old(self, specs: tuple[ProcessSpec, ...]) -> tuple[ProcessSpec, ...]:
        return tuple(spec for spec in specs if self._old is None or spec.name != self._old.run_by)

    def _route(self, engine: Engine) -> None:
        """Have the gateway serve this engine in its role."""
        now = handover.read(self._home.deployment)
        others = tuple(one for one in now.engines if one.role != engine.role)
        serve_these(self._home, self._gateway, Deployment(VERSION, (*others, engine), now.serial + 1))

    def _drain(self, count: Callable[[dict[str, Any]], int]) -> None:
        """Wait for answers under way. Raises switch-failed when they take too long."""
        deadline = time.monotonic() + _DRAIN_S
        while count(gateway_state(self._gateway) or {"busy": {}, "leaving": 1}):
            if time.monotonic() > deadline:
                raise ApplianceError(
                    "switch-failed", "Answers under way did not come to an end.", "Try again at a quieter time."
                )
            time.sleep(_POLL_S)


def _restore(home: Home, gateway: GatewaySettings, before: _Before) -> None:
    """Have the processes and the route of before again; the old engine is started again if it was ended."""
    # First of all the new engine ends: the old one may need its memory.
    now = {spec.name for spec in specs_from_json((home.run / where.LIST).read_bytes())}
    run_these(home, tuple(spec for spec in before.specs if spec.name in now))
    for name in now - {spec.name for spec in before.specs}:
        wait_gone(home, name)
    run_these(home, before.specs)
    for engine in before.deployment.engines:
        if engine.is_ours:
            wait_ready(home, engine.run_by)
    serial = handover.read(home.deployment).serial + 1
    serve_these(home, gateway, replace(before.deployment, serial=serial))


def _with(specs: tuple[ProcessSpec, ...], new: ProcessSpec) -> tuple[ProcessSpec, ...]:
    """The list with a new engine behind the others, and ahead of the gateway and what else is no engine."""
    engines = tuple(spec for spec in specs if is_engine(spec) and spec.name != new.name)
    return (*engines, new, *(spec for spec in specs if not is_engine(spec)))


def _journal(home: Home) -> Path:
    return home.run / "switch.json"


def _write_journal(home: Home, before: _Before) -> None:
    text = json.dumps({"deployment": before.deployment.to_json(), "processes": specs_to_json(before.specs)})
    write_atomic(_journal(home), text.encode(), 0o600)


def _read_journal(home: Home) -> _Before:
    """Raises FileNotFoundError."""
    said = json.loads(_journal(home).read_text())
    return _Before(from_json(said["deployment"]), specs_from_json(said["processes"].encode()))
