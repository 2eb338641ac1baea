"""How the box is: what runs, what it serves, what is wrong."""

from __future__ import annotations

from typing import Any

from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.config.version import VERSION
from appliance.store import handover
from appliance.supervise.process import answers
from appliance.supervise.spec import Probe, ProcessState, Report
from appliance.supervise.where import read_report, supervisor_pid
from appliance.units import now_us, show_instant


def status(home: Home, settings: Settings) -> dict[str, Any]:
    """The document of `status --json`."""
    pid = supervisor_pid(home.run)
    report = read_report(home.run) if pid else None
    gateway = settings.gateway
    answering = answers(Probe(path="/ready", host=gateway.host, port=gateway.port))
    problems = _problems(report, pid, answering)
    return {
        "healthy": not problems,
        "version": VERSION,
        "problems": problems,
        "urls": {"api": api_url(settings)},
        "engines": _engines(home, settings),
        "processes": [_process(process) for process in report.processes] if report else [],
        "supervisor": pid,
        "settings": str(home.config),
        "state": str(home.state),
    }


def api_url(settings: Settings) -> str:
    """The base address that OpenAI clients are given."""
    host = settings.gateway.host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.gateway.port}/v1"


def _problems(report: Report | None, pid: int | None, answering: bool) -> list[str]:
    """What keeps the box from being healthy, in words."""
    if pid is None:
        return [] if answering else ["The appliance is not running: start it with `appliance up`."]
    found = [
        f"'{process.name}' is {process.state}: see `appliance logs {process.name}`."
        for process in (report.processes if report else ())
        if process.state != "ready"
    ]
    if not answering and not found:
        found = ["The gateway does not answer requests: see `appliance logs serve`."]
    return found


def _engines(home: Home, settings: Settings) -> list[dict[str, Any]]:
    """What is served, from the deployment and the settings."""
    ours = [
        {
            "role": one.role,
            "model": one.model,
            "trial": one.trial,
            "context": one.context,
            "slots": one.slots,
            "url": None,
        }
        for one in handover.read(home.deployment).engines
    ]
    theirs = [
        {"role": role, "model": one.model, "trial": False, "context": None, "slots": None, "url": one.url}
        for role, one in settings.engines.items()
        if one.url is not None
    ]
    return [*ours, *theirs]


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
