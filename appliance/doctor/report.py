"""A file for support, put together from a list of what may leave the box."""

from __future__ import annotations

import io
import json
import platform
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from appliance.chat.process import PAGE, REDIS
from appliance.config.paths import Home
from appliance.config.settings import Role
from appliance.config.version import VERSION
from appliance.control import lan, running, status
from appliance.control.plan import catalogue
from appliance.doctor.blanked import blanked
from appliance.doctor.counts import counts
from appliance.doctor.finding import Finding
from appliance.doctor.known_lines import read
from appliance.doctor.run import Result, examine
from appliance.doctor.situation import Situation, look_around
from appliance.errors import ApplianceError
from appliance.hardware.probe import probe
from appliance.proof.words import summary
from appliance.store.files import replacing
from appliance.units import now_us, show_instant

# Every process of ours, as it is called in lists and logs.
NAMES: Final = frozenset(
    {*get_args(Role), *(f"{role}-2" for role in get_args(Role))}
    | {"serve", "identity", "supervisor", PAGE, REDIS, *lan.PROCESSES}
)
_README: Final = """A report of an AI appliance, for whoever supports it.

It was put together from a list of what may leave the box: versions, facts of the hardware, settings without texts,
ids of findings, states of processes, counts, and lines of logs of known forms. Prompts, answers, secrets and names of
people are not on that list. Every file is plain JSON.
"""


@dataclass(frozen=True, slots=True)
class Made:
    """A report that was written: where, its bytes, and the files in it."""

    file: Path
    size: int
    members: tuple[str, ...]


def write_report(home: Home, file: Path | None) -> Made:
    """Write a report, whole or not at all, readable by its owner only. Raises wrong-use where it cannot be written."""
    situation = look_around(home)
    stamp = (show_instant(situation.now) or "")[:16].replace(":", "").replace("T", "-")
    target = (file or Path(f"appliance-report-{stamp}.tar.gz")).absolute()
    members = dict(contents(situation, examine(home)))
    try:
        with replacing(target, 0o600) as opened, tarfile.open(fileobj=opened, mode="w:gz") as archive:
            for name, data in members.items():
                archive.addfile(_member(name, len(data)), io.BytesIO(data))
    except OSError as error:
        raise ApplianceError(
            "wrong-use", f"{target} cannot be written: {error.strerror or error}.", "Name another file."
        ) from error
    return Made(target, target.stat().st_size, tuple(members))


def contents(situation: Situation, found: Result) -> Iterator[tuple[str, bytes]]:
    """Every file of a report, by name."""
    known = frozenset(row.id for row in catalogue().models) | frozenset(get_args(Role))
    yield "README.txt", _README.encode()
    yield "about.json", _json(_about(situation))
    yield "hardware.json", _json(_hardware(situation))
    if situation.settings is not None:
        yield "settings.json", _json(blanked(situation.settings, known))
    yield "findings.json", _json(_findings(found, known))
    yield "processes.json", _json(_processes(situation, known))
    yield "counts.json", _json(counts(situation))
    yield "logs.json", _json(dict(_logs(situation.home)))


def _about(situation: Situation) -> dict[str, Any]:
    system = {}
    with suppress(OSError):
        system = platform.freedesktop_os_release()
    return {
        "made_at": show_instant(situation.now),
        "version": VERSION,
        "python": platform.python_version(),
        "system": f"{system.get('ID', 'unknown')} {system.get('VERSION_ID', '')}".strip(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "database": situation.database,
        "settings_readable": situation.settings is not None,
        "virtual_environment": sys.prefix != sys.base_prefix,
    }


def _hardware(situation: Situation) -> dict[str, Any]:
    """The facts, without the programs on the cards and without the cards' own numbers."""
    found = probe(situation.home.state).to_json()
    found["gpus"] = [{**one, "uuid": "", "users": len(one["users"])} for one in found["gpus"]]
    found["problems"] = [one["code"] for one in found["problems"]]
    return found


def _findings(found: Result, known: frozenset[str]) -> dict[str, Any]:
    return {
        "healthy": found.healthy,
        "not_looked": [one.check.name for one in found.looked if one.found is None],
        "findings": [
            {
                "id": finding.id,
                "check": check.name,
                "level": finding.kind.level,
                "about": _about_what(finding, known),
                "since": show_instant(found.since.get(finding.key)),
                "facts": finding.facts,
            }
            for check, finding in found.findings
        ],
    }


def _about_what(finding: Finding, known: frozenset[str]) -> str:
    """What it is about where that is a name of ours; else nothing, since it may be a path, a person, an address."""
    return finding.about if finding.about in NAMES | known else ""


def _processes(situation: Situation, known: frozenset[str]) -> dict[str, Any]:
    states = situation.report.processes if situation.report else ()
    proofs = []
    with suppress(ApplianceError):
        proofs = [summary(one) for one in status.proved(situation.home).values()]
    return {
        "supervisor": situation.supervisor is not None,
        "processes": [
            {
                "name": one.name,
                "state": one.state,
                "seconds": (now_us() - one.since) // 1_000_000,
                "restarts": one.restarts,
                "exit_code": one.exit_code,
                "prioritized": one.prioritized,
            }
            for one in states
            if one.name in NAMES
        ],
        "engines": [
            {"role": one.plan.role, "model": _known(one.plan.model, known), "on_gpu": one.plan.on_gpu,
             "context": one.plan.context, "slots": one.plan.slots, "threads": one.plan.threads}
            for one in running.read(situation.home)
        ],
        "proofs": [{**one, "model": _known(one["model"], known), "cause": None} for one in proofs],
    }  # fmt: skip


def _known(name: str, known: frozenset[str]) -> str:
    return name if name in known else "(another)"


def _logs(home: Home) -> Iterator[tuple[str, Any]]:
    for name in sorted(NAMES):
        for ending in (".log.old", ".log"):
            file = home.logs / f"{name}{ending}"
            if file.is_file():
                yield file.name, read(file)


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _member(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(f"appliance-report/{name}")
    found.size, found.mode, found.mtime = size, 0o600, now_us() // 1_000_000
    return found
