"""An update while clients ask: carried out, made to fail at each proof, and cut off at each step by a power cut."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.load import load
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control.installation import Installation
from appliance.control.local_key import local_key
from appliance.control.update_proof import Trial, prove
from appliance.errors import ApplianceError
from appliance.policy.updates import MIGRATE, STEPS, SWITCH
from appliance.store import maintenance
from appliance.update import journal
from appliance.update.journal import Record
from tests.support.batches import begin, line, until
from tests.support.box import ask, free_port
from tests.support.engines import FakeEngine
from tests.support.releases import OLD, VERSION, Installed, without_paths

pytestmark = pytest.mark.slow

# Runs an update, and has the power cut at a step: everything ends at once, this process too.
CUT = """
import os, signal, sys
from pathlib import Path
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control import update_offer, updating
from appliance.supervise.where import supervisor_pid

config, state, place, step, how = sys.argv[1:]
home = Home(Path(config), Path(state))
settings = load(home.config)

def at(*now):
    if now == (step, how):
        # While it is prepared the others go on: then it is this process alone that is killed.
        everything = supervisor_pid(home.run)
        if everything and step not in ("verify", "check"):
            os.kill(everything, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

if place == "back":
    updating.roll_back(home, settings, updating.way_back(home), print, at)
updating.apply(home, settings, update_offer.look(home, settings, place), print, at)
"""
# Goes on with one, and has the power cut when so many files have been moved.
CUT_BACK = """
import os, signal, sys
from pathlib import Path
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control import update_recovery

config, state, most = sys.argv[1:]
moved, rename = 0, Path.rename

def counting(self, target):
    global moved
    moved += 1
    if moved > int(most):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.rename = counting
update_recovery.recover(Home(Path(config), Path(state)), print)
"""


class Clients:
    """Somebody who asks again and again. `seen` are the requests that they got an answer to."""

    def __init__(self, box: Installed, key: str) -> None:
        self._box, self._key = box, key
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.seen: set[str] = set()
        self.told: Counter[str] = Counter()
        self.refusals: list[tuple[dict[str, str], Any]] = []
        self.answered_at: list[float] = []

    def _work(self) -> None:
        while not self._ended.wait(0.1):
            try:
                status, headers, said = self._box.post(ask("tokens=3"), self._key)
            except (OSError, http.client.HTTPException, ValueError):
                self.told["nobody there"] += 1
                continue
            self.told[str(status)] += 1
            if status == 200:
                self.seen.add(headers["x-request-id"])
                self.answered_at.append(time.monotonic())
            else:
                self.refusals.append((headers, said))

    @property
    def longest_pause_s(self) -> float:
        """Between two answers, as a client sees it."""
        return max(b - a for a, b in zip(self.answered_at, self.answered_at[1:], strict=False))

    def __enter__(self) -> Clients:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def running(folder: Path, engine: FakeEngine, more: str = "") -> Iterator[Installed]:
    """An installation that is up."""
    box = Installed(folder)
    box.settings(engine.url, more)
    try:
        box.run("up", "--no-prove", env=without_paths())
        yield box
    finally:
        box.run("down", env=without_paths(), code=None)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[Installed]:
    """One that the tests of this file leave as they found it: up, with the old version."""
    sign_on = f"[identity]\nenabled = true\nport = {free_port()}\n"
    with running(tmp_path_factory.mktemp("installed"), fake_engine, sign_on) as box:
        yield box


def command(box: Installed, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    return box.run(*words, env=without_paths(), code=code, timeout=280)


def ledger(box: Installed) -> Counter[str]:
    """How often each request is in the books, by its id."""
    with closing(sqlite3.connect(f"{(box.state / 'appliance.db').as_uri()}?mode=ro", uri=True)) as connection:
        return Counter(str(id) for (id,) in connection.execute("SELECT request_id FROM call"))


def is_new(box: Installed) -> bool:
    """Whether the data are in the form of the new version."""
    with closing(sqlite3.connect(f"{(box.state / 'appliance.db').as_uri()}?mode=ro", uri=True)) as connection:
        return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'novelty'").fetchone())


def history(box: Installed) -> list[Record]:
    return journal.history(Home(box.config, box.state))


def whole(box: Installed, key: str, version: str) -> None:
    """It is of one version whole, and serves."""
    assert box.current.startswith(version)
    assert is_new(box) == (version == VERSION)
    assert not (box.state / "update" / "journal.json").exists()
    status, _, said = box.post(ask("tokens=3"), key)
    assert (status, "error" in said) == (200, False)


def test_an_update_and_the_way_back_while_clients_ask(installed: Installed) -> None:
    key = installed.key()
    batch = begin(installed, key, [line("one"), line("two")])
    release = installed.release("good")
    with Clients(installed, key) as clients:
        said = command(installed, "update", "apply", str(release))
        command(installed, "update", "apply", str(release))
    assert f"Version {VERSION} runs." in said.stderr
    whole(installed, key, VERSION)
    until(installed, key, batch)
    assert set(clients.told) <= {"200", "503", "nobody there"}
    headers, refusal = clients.refusals[0]
    assert (headers["retry-after"], refusal["error"]["code"]) == ("30", "updating")
    assert clients.seen <= set(ledger(installed)), "every answer is in the books"
    (last,) = json.loads(command(installed, "update", "history", "--json").stdout)
    assert (last["outcome"], last["from"], last["to"], last["serial"]) == ("done", "0.1.0", VERSION, 2)
    print(f"a client waited {clients.longest_pause_s:.1f} s; the doors were closed {last['closed_seconds']} s")
    assert f"updated to version {VERSION}" in command(installed, "audit", "tail").stdout
    command(installed, "audit", "verify")

    assert "serial 2" in command(installed, "update", "check", str(installed.release("older", 1)), code=1).stderr
    would = command(installed, "update", "rollback", "--dry-run", "--json")
    assert json.loads(would.stdout) == {"to": "0.1.0", "data": True}
    assert command(installed, "update", "rollback", code=4).stdout == ""
    late = installed.post(ask("tokens=3"), key)[1]["x-request-id"]
    command(installed, "update", "rollback", "--yes")
    whole(installed, key, "0.1.0")
    assert late not in ledger(installed)
    (aside,) = installed.state.glob("before-restore-*")
    with closing(sqlite3.connect(aside / "appliance.db")) as connection:
        assert {id for (id,) in connection.execute("SELECT request_id FROM call")} >= {*clients.seen, late}
    assert "went back to version 0.1.0" in command(installed, "audit", "tail").stdout
    assert "update-nothing-before" in command(installed, "update", "rollback", "--yes", "--json", code=1).stdout


@pytest.mark.parametrize(
    ("name", "module", "before", "after", "reason"),
    [
        ("data", "migrations/versions/9999_novelty.py", "op.execute(", "op.nothing(", "cannot be brought into"),
        ("sign-on", "identity/sign_in.py", "def page(", "def page(x: int, ", "sign-on does not work"),
    ],
)
def test_a_version_that_does_not_do_is_undone_by_itself(
    installed: Installed, name: str, module: str, before: str, after: str, reason: str
) -> None:
    key = installed.key()
    release = installed.release(name, 3, {module: (before, after)})
    with Clients(installed, key) as clients:
        said = command(installed, "update", "apply", str(release), "--attached", "--json", code=5)
    assert json.loads(said.stdout)["error"]["code"] == "update-undone"
    whole(installed, key, "0.1.0")
    assert not (installed.state / "update" / "doors-closed").exists()
    books = ledger(installed)
    assert all(books[id] == 1 for id in clients.seen)
    last = history(installed)[-1]
    assert last.outcome == "undone"
    assert reason in last.reason
    assert "was undone: " in command(installed, "status").stdout
    assert "was undone" in command(installed, "audit", "tail").stdout
    command(installed, "audit", "verify")


def test_what_is_not_signed_touches_nothing(installed: Installed) -> None:
    release = installed.release("unsigned", 4)
    (release / "wheels" / "more.whl").write_bytes(b"")
    before, staged = len(history(installed)), sorted(path.name for path in (installed.code / "releases").iterdir())
    for words in (("check",), ("apply", "--attached")):
        code = 0 if words == ("check",) else 1
        command(installed, "update", words[0], str(release), *words[1:], code=code)
    assert history(installed)[before].outcome == "refused"
    (release / "signatures.json").write_text('{"signatures": []}')
    assert "update-not-signed" in command(installed, "update", "apply", str(release), "--json", code=1).stdout
    assert len(history(installed)) == before + 1
    whole(installed, installed.key(), "0.1.0")
    assert sorted(path.name for path in (installed.code / "releases").iterdir()) == staged


@pytest.fixture
def closed(installed: Installed) -> Iterator[Trial]:
    """The old version with its doors closed, and a release whose commands say what a test has them say."""
    home = Home(installed.config, installed.state)
    key = local_key(home)
    home.update.mkdir(exist_ok=True)
    word = maintenance.close(home.maintenance)
    folder = installed.code / "releases" / "stub"
    (folder / "venv/bin").mkdir(parents=True, exist_ok=True)
    try:
        yield Trial(Installation(installed.code), OLD, word, key, {}, lambda: False)
    finally:
        maintenance.open_again(home.maintenance)
        shutil.rmtree(folder)


def says(trial: Trial, text: str, code: int = 0) -> Trial:
    python = trial.installation.python("stub")
    python.write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
    python.chmod(0o755)
    return replace(trial, release="stub")


def test_each_proof_finds_what_it_is_for(installed: Installed, closed: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    home, settings = Home(installed.config, installed.state), load(installed.config)
    prove(home, settings, closed)
    assert installed.post(ask(), installed.key())[0] == 503, "nobody else is let in"
    slow = json.dumps([{"model": "m", "writes": 89.0}])
    for words, with_these, trial in (
        ("/ready", settings.model_copy(update={"gateway": _elsewhere(settings.gateway)}), closed),
        ("openid-configuration", settings.model_copy(update={"identity": _elsewhere(settings.identity)}), closed),
        ("openid-configuration answers 503", settings, replace(closed, word="no")),
        ("does not answer (401", settings, replace(closed, key="sk-no")),
    ):
        _unfit(home, with_these, trial, words)
    _unfit(home, settings, says(closed, "[]"), "is not in the ledger")
    _unfit(home, settings, says(closed, "hello"), "prints no document")
    _unfit(home, settings, says(closed, "[]", 70), "usage --rows --limit 50 --json` fails")
    only_speed = settings.model_copy(update={"engines": {}})
    _unfit(home, only_speed, replace(says(closed, slow, 1), speeds={"m": 100.0}), "m writes 89.0 tokens a second")
    prove(home, only_speed, replace(says(closed, slow), speeds={"m": 98.0}))
    prove(home, only_speed, replace(says(closed, slow), speeds={"m": 100.0}, is_busy=lambda: True))


def _unfit(home: Home, settings: Settings, trial: Trial, words: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        prove(home, settings, trial)
    assert caught.value.code == "update-failed"
    assert words in caught.value.sentence


def _elsewhere(section: Any) -> Any:
    return section.model_copy(update={"port": free_port()})


def test_meanwhile_nothing_else_is_changed(installed: Installed, closed: Trial) -> None:
    for words in (("keys", "create", "--owner", "anna"), ("groups", "add", "sales")):
        assert json.loads(command(installed, *words, "--json", code=1).stdout)["error"]["code"] == "updating"
    status, headers, said = installed.request("POST", "/v1/messages", {}, None)
    assert (status, headers["retry-after"], said["error"]["type"]) == (503, "30", "overloaded_error")
    port = load(installed.config).identity.port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health") as answered:
        assert answered.status == 200
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/sign-in", headers={"accept-language": "de"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(asked)
    with caught.value as refused:
        assert (refused.status, refused.headers["retry-after"]) == (503, "30")
        assert "wird gerade aktualisiert" in refused.read().decode()


def cut(box: Installed, release: Path | str, step: str, how: str) -> None:
    """Update, or go `back`, and have the power cut at a step."""
    python = (box.code / "current").resolve() / "venv/bin/python"
    done = subprocess.run(
        [python, "-P", "-c", CUT, box.config, box.state, release, step, how],
        capture_output=True, text=True, check=False, timeout=120,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, f"{step} {how}: {done.stdout}\n{done.stderr}"


POINTS = [(step, "done") for step in STEPS if step != SWITCH] + [(SWITCH, "begun")]


@pytest.mark.timeout(900)
def test_a_power_cut_at_any_step_ends_in_one_version_whole(tmp_path: Path, fake_engine: FakeEngine) -> None:
    with running(tmp_path, fake_engine) as box:
        key, release = box.key(), box.release()
        with Clients(box, key) as clients:
            for step, how in POINTS:
                cut(box, release, step, how)
                if step == SWITCH:
                    # Once more while it is undone, when some of the files have been moved.
                    for most in (1, 9):
                        cut_back(box, most)
                command(box, "up", "--no-prove")
                whole(box, key, "0.1.0")
                assert history(box)[-1].steps[-1][0] == step
            cut(box, release, SWITCH, "done")
            command(box, "up", "--no-prove")
            whole(box, key, VERSION)
            # On the way back, when the data of then are in the place of those of now.
            cut(box, "back", MIGRATE, "done")
            command(box, "up", "--no-prove")
            whole(box, key, VERSION)
        books = ledger(box)
        assert len(clients.seen) > len(POINTS)
        assert [id for id in clients.seen if books[id] != 1] == []
        assert [one.outcome for one in history(box)] == ["refused"] * 4 + ["undone"] * 6 + ["done", "undone"]
        command(box, "audit", "verify")


def cut_back(box: Installed, most: int) -> None:
    python = (box.code / "current").resolve() / "venv/bin/python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-P", "-c", CUT_BACK, box.config, box.state, str(most)], check=False, env=environment)
