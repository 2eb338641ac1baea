"""`appliance models tune` on the real engine with the embedded model: what it tells, keeps and leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from appliance.artifacts.shelf import Shelf
from appliance.config.paths import Home, cache_folder
from appliance.config.settings import Settings
from appliance.control.plan import catalogue
from appliance.control.trial import trial
from appliance.control.tuned import tuned_for
from appliance.control.tuning import tune
from appliance.engine import measure
from appliance.engine.arguments import EnginePlan, Options
from appliance.errors import ApplianceError
from appliance.hardware.probe import probe
from appliance.proof import tunings
from appliance.proof.keys import machine_key
from appliance.proof.tunings import Tuned
from appliance.selector.choose import EMBEDDED
from appliance.store.sessions import session
from tests.support.box import Box, endless, environment, wait_until

pytestmark = pytest.mark.model


@pytest.fixture(scope="session")
def model_file() -> Path:
    """The embedded model, fetched and verified once for all runs of the tests."""
    folder = cache_folder() / "tests-models"
    folder.mkdir(parents=True, exist_ok=True)
    return Shelf(folder).pull(catalogue().get(EMBEDDED), lambda done, total: None)


@pytest.fixture
def tuned_box(box: Box, model_file: Path) -> Box:
    """A box with the embedded model on its shelf, small enough to be measured quickly."""
    box.configure("[engines.chat]\ncontext = 512\nslots = 2\n")
    (box.state / "models").mkdir(parents=True)
    (box.state / "models" / model_file.name).symlink_to(model_file)
    return box


def engines(box: Box) -> list[psutil.Process]:
    """The llama-servers of a box that run now."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "llama-server" and str(box.state) in " ".join(process.info["cmdline"] or ()):
            found.append(process)
    return found


@pytest.fixture
def tuning(tuned_box: Box) -> Iterator[subprocess.Popen[str]]:
    """A tuning that is under way: its first engine runs."""
    argv = tuned_box.argv("models", "tune")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as made:
        wait_until(lambda: engines(tuned_box), 30, "the first trial")
        yield made
        made.kill()


def test_it_tells_the_table_and_keeps_it_and_leaves_nothing_running(tuned_box: Box) -> None:
    before = tuned_box.run("models", "tune", "--minutes", "0.2")
    assert before.stdout.splitlines()[0].split()[0] == "tried"
    assert "as it is" in before.stdout
    assert "Trying as it is (1 of about " in before.stderr
    found = tuned_box.document("models", "tune", EMBEDDED, "--minutes", "0.1")
    assert engines(tuned_box) == []
    first, *tried = found["table"]
    assert (first["change"], first["kept"]) == ("as it is", True)
    assert first["tokens_per_second"]["alone"] > 0
    assert all(row["why"] for row in tried if not row["kept"])
    assert found["changed"] is any(row["kept"] for row in tried)
    home, hardware = Home(tuned_box.config, tuned_box.state), probe()
    stored = tuned_for(home, hardware, EMBEDDED)
    assert stored is not None
    if not found["in_force"]:
        assert stored == Tuned()
    with session(home.database) as opened:
        row = tunings.newest_row(opened, machine_key(hardware), EMBEDDED)
        assert row is not None
        assert json.loads(row.table) == found["table"]
        assert json.loads(row.options) == found["in_force"]
    assert not list((tuned_box.state / "run").glob("*.sock"))


def test_killed_it_leaves_no_engine_behind_and_can_be_run_again(tuned_box: Box, tuning: subprocess.Popen[str]) -> None:
    refused = tuned_box.document("models", "tune", code=1)
    assert refused["error"]["code"] == "tune-running"
    os.kill(tuning.pid, signal.SIGKILL)
    tuning.wait(10)
    wait_until(lambda: not engines(tuned_box), 5, "the end of the trial")
    assert tuned_for(Home(tuned_box.config, tuned_box.state), probe(), EMBEDDED) is None
    assert tuned_box.document("models", "tune", "--minutes", "0.1")["table"]


def test_interrupted_it_keeps_nothing_and_ends_its_engine(tuned_box: Box, tuning: subprocess.Popen[str]) -> None:
    time.sleep(1.0)
    asked = time.monotonic()
    os.kill(tuning.pid, signal.SIGINT)
    assert tuning.wait(20) == 130
    assert time.monotonic() - asked < 10
    assert engines(tuned_box) == []
    assert tuned_for(Home(tuned_box.config, tuned_box.state), probe(), EMBEDDED) is None


def test_a_trial_ends_at_its_limit_and_one_that_does_not_start_says_why(tmp_path: Path, model_file: Path) -> None:
    plan = EnginePlan("chat", "m", str(model_file), str(tmp_path / "t.sock"), context=512, slots=1, threads=1)
    until = time.monotonic() + 4
    with trial(plan, tmp_path / "t.log", until) as socket:
        assert Path(socket).exists()
        wait_until(lambda: not _answers(socket), 20, "the end of the trial")
        assert time.monotonic() > until
    wrong = EnginePlan(*("chat", "m", str(model_file), str(tmp_path / "t.sock"), 512, 1, 1), options=Options(guess="x"))
    with pytest.raises(ApplianceError) as caught, trial(wrong, tmp_path / "t.log"):
        pass
    assert caught.value.code == "engine-failed"
    assert "x" in caught.value.sentence


def _answers(socket: str) -> bool:
    from appliance.supervise.process import answers
    from appliance.supervise.spec import Probe

    return answers(Probe("/health", socket=socket))


def test_it_needs_the_model_on_the_shelf_and_one_that_can_chat(tuned_box: Box) -> None:
    wrong = tuned_box.document("models", "tune", "all-minilm-l6-v2-q8_0", code=2)
    assert wrong["error"]["code"] == "model-cannot-chat"
    missing = tuned_box.document("models", "tune", "qwen3-8b-q4_k_m", code=1)
    assert missing["error"]["code"] == "model-missing"
    tuned_box.configure('[engines.chat]\nurl = "http://127.0.0.1:9/v1"\nmodel = "x"\n')
    assert tuned_box.document("models", "tune") == {"id": None, "changed": False}


def test_a_trial_that_does_not_fit_beside_what_runs_is_refused(tuned_box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    full = replace(probe(), memory_available=32 << 20)
    monkeypatch.setattr("appliance.control.tuning.probe", lambda: full)
    home = Home(tuned_box.config, tuned_box.state)
    with pytest.raises(ApplianceError) as caught:
        tune(home, Settings(), catalogue().get(EMBEDDED), 5.0, lambda what, done, about: None)
    assert caught.value.code == "no-room-to-tune"
    assert "32 MiB can be had" in caught.value.sentence
    assert tuned_for(home, full, EMBEDDED) is None


def test_it_waits_while_somebody_is_served(tuned_box: Box) -> None:
    tuned_box.run("up", "--no-prove")
    opened = tuned_box.open(tuned_box.key(), endless(max_tokens=400))
    opened.recv(1000)
    with subprocess.Popen(
        tuned_box.argv("models", "tune", "--minutes", "0.2"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    ) as tuning:  # fmt: skip
        home = Home(tuned_box.config, tuned_box.state)
        socket = str(home.socket("chat"))
        seen = 0
        while not measure.is_idle(socket):
            assert not [one for one in engines(tuned_box) if str(home.socket("tune")) in one.cmdline()]
            seen += 1
            time.sleep(0.1)
        opened.close()
        assert tuning.wait(60) == 0
    assert seen > 2
    assert tuned_box.document("status")["healthy"] is True
