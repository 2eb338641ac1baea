"""How the box is: what runs, what it serves, what is wrong."""

from __future__ import annotations

from typing import Any

from appliance.accounts import owners
from appliance.chat.people import active, licence
from appliance.chat.process import PAGE, REDIS, redis_program
from appliance.config.addresses import addresses
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.config.version import VERSION
from appliance.control import lan, running
from appliance.control.running import Planned
from appliance.control.switch import is_cut_off
from appliance.hardware.probe import probe
from appliance.proof import records
from appliance.proof.keys import machine_key
from appliance.proof.tables import Proof
from appliance.proof.words import alarm, summary
from appliance.store import handover
from appliance.store.sessions import session
from appliance.supervise.process import answers
from appliance.supervise.spec import Probe, ProcessState, Report
from appliance.supervise.where import read_report, supervisor_pid
from appliance.units import now_us, show_instant
from appliance.update import journal


def status(home: Home, settings: Settings) -> dict[str, Any]:
    """The document of `status --json`."""
    pid = supervisor_pid(home.run)
    report = read_report(home.run) if pid else None
    gateway = settings.gateway
    answering = answers(Probe(path="/ready", host=gateway.host, port=gateway.port))
    proofs = proved(home)
    alarms = [{"model": one.model, "code": one.alarm, "text": alarm(one)} for one in proofs.values() if one.alarm]
    problems = _problems(home, report, pid, answering)
    # Slow is a warning; a model that is not where it was planned is a fault.
    problems += [f"{one.model}: {alarm(one)}" for one in proofs.values() if one.alarm == "gpu-not-used"]
    return {
        "healthy": not problems,
        "version": VERSION,
        "problems": problems,
        "alarms": alarms,
        "update": _undone(home),
        "owned": owned(home, settings),
        "urls": urls(settings),
        "chat": _chat(home, settings),
        "engines": _engines(home, settings, proofs, report),
        "processes": [_process(process) for process in report.processes] if report else [],
        "supervisor": pid,
        "settings": str(home.config),
        "state": str(home.state),
    }


def _undone(home: Home) -> dict[str, str | None] | None:
    """The last update, where it was undone; None where all is well with it."""
    found = journal.history(home)
    if not found or found[-1].outcome != journal.UNDONE:
        return None
    last = found[-1]
    return {"version": last.to_version, "ended_at": show_instant(last.ended), "reason": last.reason}


def owned(home: Home, settings: Settings) -> bool | None:
    """Whether there is an owner who can sign in; None where sign-on is switched off."""
    if not settings.identity.enabled:
        return None
    if not home.database.exists():
        return False
    with session(home.database) as opened:
        return bool(owners.who_can_sign_in(opened))


def urls(settings: Settings) -> dict[str, str]:
    """Where people and programs find what this box offers."""
    found = addresses(settings)
    named = {"api": found.api, "issuer": found.issuer, "chat": found.chat, "page": found.page, "trust": found.trust}
    return {name: url for name, url in named.items() if url}


def _chat(home: Home, settings: Settings) -> dict[str, Any] | None:
    """Who uses the chat page, and whether signing out ends at once what a browser still holds; None without one."""
    if not settings.chat.enabled:
        return None
    people = active(home.chat)
    return {"people": people, "licence": licence(people), "signs_out_at_once": redis_program() is not None}


def api_url(settings: Settings) -> str:
    """The base address that OpenAI clients are given."""
    return addresses(settings).api


def _problems(home: Home, report: Report | None, pid: int | None, answering: bool) -> list[str]:
    """What keeps the box from being healthy, in words."""
    if pid is None:
        return [] if answering else ["The appliance is not running: start it with `appliance up`."]
    # A model that is being tried serves nobody yet, and one that is ending nobody any more.
    faces = {"serve", "identity", PAGE, REDIS, *lan.PROCESSES}
    serving = {one.run_by for one in handover.read(home.deployment).engines} | faces
    found = [
        f"'{process.name}' is {process.state}: see `appliance logs {process.name}`."
        for process in (report.processes if report else ())
        if process.name in serving and process.state not in ("ready", "ending")
    ]
    if not answering and not found:
        found = ["The gateway does not answer requests: see `appliance logs serve`."]
    if is_cut_off(home):
        found.append("A change of models was cut off: `appliance up` puts it right.")
    return found


def proved(home: Home) -> dict[str, Proof]:
    """The last proof of each model that runs here, by model id; none before the first."""
    engines = {one.plan.model for one in running.read(home)}
    return {model: proof for model, proof in all_proofs(home).items() if model in engines} if engines else {}


def all_proofs(home: Home) -> dict[str, Proof]:
    """The last proof of each model on this machine, by model id."""
    if not home.database.exists():
        return {}
    with session(home.database) as opened:
        found = records.all_newest(opened, machine_key(probe()))
        opened.expunge_all()
    return found


def _engines(home: Home, settings: Settings, proofs: dict[str, Proof], report: Report | None) -> list[dict[str, Any]]:
    """What is served, from the deployment and the settings; of ours, how it was planned and proved."""
    planned = {one.plan.role: one for one in running.read(home)}
    pids = {process.name: process.pid for process in report.processes} if report else {}
    ours = [
        {
            "role": one.role,
            "model": one.model,
            "trial": one.trial,
            "context": one.context,
            "slots": one.slots,
            "url": None,
            **_proof(planned.get(one.role), proofs.get(one.model), pids),
        }
        for one in handover.read(home.deployment).engines
    ]
    theirs = [
        {"role": role, "model": one.model, "trial": False, "context": None, "slots": None, "url": one.url}
        | _proof(None, None, pids)
        for role, one in settings.engines.items()
        if one.url is not None
    ]
    return [*ours, *theirs]


def _proof(one: Planned | None, proof: Proof | None, pids: dict[str, int | None]) -> dict[str, Any]:
    """Where an engine is, and what its last proof says; `proved` is whether that was since its last start."""
    return {
        "on_gpu": one.plan.on_gpu if one else None,
        "off_gpu_because": (one.off_gpu or None) if one else None,
        "proof": summary(proof) if proof else None,
        "proved": proof is not None and one is not None and proof.pid == pids.get(one.process),
    }


def _process(process: ProcessState) -> dict[str, Any]:
    return {
        "name": process.name,
        "state": process.state,
        "pid": process.pid,
        "restarts": process.restarts,
        "since": show_instant(process.since),
        "seconds": (now_us() - process.since) // 1_000_000,
        "prioritized": process.prioritized,
    }
