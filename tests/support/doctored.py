"""A box for the doctor: used a little, spoiled by a test as it likes, and looked at by one check or all."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.accounts import keys
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.config.paths import Home
from appliance.doctor.check import Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import look_around
from appliance.store import schema
from appliance.units import now_us
from tests.support.box import environment, free_port
from tests.support.supervised import Supervised

DAY_US = 86_400_000_000
CALL = (
    "INSERT INTO call (request_id, principal, team, key_id, endpoint, priority, model_asked, model, provider, streamed,"
    " prompt_tokens, cached_tokens, completion_tokens, exact, queue_ms, total_ms, outcome, cost, avoided_cost,"
    " started_at) VALUES (?, 'anna', '', 'key-1', 'chat', 'api', 'chat', 'm', '', 0, 0, 0, 0, 1, 0, 0, 'open', 0, 0, ?)"
)
SETTLE = "UPDATE call SET settled_at = started_at, outcome = 'complete', prompt_tokens = 40 WHERE request_id = ?"
LAN = '[identity]\nenabled = true\n[lan]\nenabled = true\nhost = "box.example.test"\n'
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may do that")


def used(folder: Path) -> Path:
    """Make a state folder that was used: a database with calls, an audit log, a key; returns the folder above it."""
    home = Home(folder / "appliance.toml", folder / "var")
    home.prepare()
    with acting(home) as acts:
        key, _ = keys.create(acts.session, "anna")
        acts.note(Action.KEY_CREATED, key.id, owner="anna")
    for n in range(3):
        write(home, (CALL, (f"r{n}", now_us() - n * DAY_US)), (SETTLE, (f"r{n}",)))
    return folder


def copied(pattern: Path, folder: Path) -> Home:
    """Such a state folder of a test's own, with settings."""
    shutil.copytree(pattern / "var", folder / "var")
    (folder / "var").chmod(0o700)
    made = Home(folder / "appliance.toml", folder / "var")
    configure(made)
    return made


def configure(home: Home, text: str = "", gateway: str = "") -> int:
    """Settings with a port that nobody has; returns that."""
    port = free_port()
    home.config.write_text(f"[gateway]\nport = {port}\n{gateway}\n{text}\n")
    return port


def write(home: Home, *statements: tuple[str, tuple[object, ...]]) -> None:
    """Write the database behind everybody's back."""
    schema.ensure(home.database)
    with closing(sqlite3.connect(home.database)) as connection, connection:
        for statement, values in statements:
            connection.execute(statement, values)


def found(check: Check, home: Home, **changed: Any) -> list[Finding]:
    """What a check finds; `changed` are fields of the situation."""
    return list(check.look(replace(look_around(home), **changed)))


def ids(check: Check, home: Home, **changed: Any) -> set[str]:
    """The ids of what a check finds."""
    return {one.id for one in found(check, home, **changed)}


@contextmanager
def supervised(home: Home, *options: str, name: str = "serve", wait: bool = True) -> Iterator[Supervised]:
    """A real supervisor on the box's own list, with one small server that behaves as told."""
    with Supervised(home.run) as made:
        made.add(name, *options)
        made.start()
        if wait:
            made.until_ready()
        yield made


@contextmanager
def holding(lock: Path) -> Iterator[int]:
    """A process that holds a lock, as a gateway does."""
    program = (
        "import sys; from pathlib import Path; from appliance.store.locks import Lock;"
        "lock = Lock(Path(sys.argv[1])); print(lock.acquire(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-P", "-c", program, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"True\n"
        yield child.pid
        child.kill()
