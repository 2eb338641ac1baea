"""What all checks look at: the box as it is found, read once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

import psutil

from appliance.config.load import load
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.errors import ApplianceError
from appliance.hardware.tree import HOST, Tree
from appliance.store import schema
from appliance.store.locks import holder
from appliance.supervise.spec import Report
from appliance.supervise.where import read_report, supervisor_pid
from appliance.units import now_us

CURRENT, OLDER, NEWER, MISSING, DAMAGED = "current", "older", "newer", "missing", "damaged"


@dataclass(frozen=True, slots=True)
class Situation:
    """One box at one moment.

    `settings` are None where they cannot be read, and `mistake` says why. `database` is how its schema is,
    `supervisor` the process that keeps the others up, `pids` all that work for the box, `now` in microseconds.
    """

    home: Home
    settings: Settings | None
    mistake: ApplianceError | None
    database: str
    supervisor: int | None
    report: Report | None
    pids: frozenset[int]
    now: int
    tree: Tree = HOST

    @property
    def told(self) -> Settings:
        """The settings, for checks that only run where there are some."""
        assert self.settings is not None
        return self.settings


def look_around(home: Home, tree: Tree = HOST) -> Situation:
    """The box as it is now. Nothing is changed, and nothing that is broken raises."""
    settings, mistake = None, None
    try:
        settings = load(home.config)
    except ApplianceError as error:
        mistake = error
    supervisor = supervisor_pid(home.run)
    report = read_report(home.run) if supervisor else None
    # Not all that the supervisor has started: where that is the system's own, that would be everything.
    programs = [one.pid for one in report.processes] if report else []
    return Situation(
        home,
        settings,
        mistake,
        _state_of(home),
        supervisor,
        report,
        _ours(*programs, holder(home.run / "serve.lock")),
        now_us(),
        tree,
    )


def _state_of(home: Home) -> str:
    if not home.database.exists():
        return MISSING
    try:
        with closing(schema.read_only(home.database)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return DAMAGED
    if found is None or found[0] < schema.HEAD:
        return OLDER
    return CURRENT if found[0] == schema.HEAD else NEWER


def _ours(*roots: int | None) -> frozenset[int]:
    """These processes, where they run, and all that they started."""
    found: set[int] = set()
    for root in roots:
        if not root or root < 0:
            continue
        try:
            process = psutil.Process(root)
            found |= {root, *(child.pid for child in process.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return frozenset(found)
