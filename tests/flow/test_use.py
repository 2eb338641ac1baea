"""Another model for a role, on the real engine: nobody notices, and whatever goes wrong the old one still serves."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.config.paths import Home
from appliance.control import changing, running
from appliance.control import use as use_module
from appliance.control.plan import catalogue
from appliance.errors import ApplianceError
from appliance.hardware.probe import probe
from appliance.proof import tunings
from appliance.proof.keys import machine_key
from appliance.selector.choose import EMBEDDED
from appliance.selector.threads import threads as threads_of
from appliance.store.sessions import session
from appliance.supervise.spec import ProcessState
from appliance.supervise.where import read_report
from appliance.units import GIB
from tests.support.box import ROOT, Box, ask, environment, wait_until
from tests.support.nvml import Nvml, StubGpu

pytestmark = pytest.mark.model

CLIENTS = 8
# A tensor's name with a letter changed: the header is sound, and the engine finds that something is missing.
BROKEN = (b"output_norm.weight", b"output_nxrm.weight")


def local_model(id: str, file: Path) -> str:
    """An admin's own model, in models.local.toml."""
    return f"""
[{id}]
title = "{id.title()}"
role = "chat"
class = "4b"
licence = "Apache-2.0"
commercial = true
parameters = 0.135
context = 8192
quality = 1
quality_source = "A test."
[{id}.files.q4_1]
id = "{id}"
source = "file:{file}"
quantization = "Q4_1"
bits = 4
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[Box]:
    """A box that serves the embedded model, and knows a second one and a broken one."""
    folder = tmp_path_factory.mktemp("use")
    box = Box(folder)
    box.configure("# The admin's own words.\n[engines.chat]\ncontext = 1024 # short\nslots = 4\n")
    (box.state / "models").mkdir(parents=True)
    (box.state / "models" / model_file.name).symlink_to(model_file)
    broken = folder / "broken.gguf"
    broken.write_bytes(model_file.read_bytes().replace(*BROKEN))
    text = local_model("second", model_file) + local_model("broken", broken)
    (folder / "models.local.toml").write_text(text)
    box.run("up", "--no-prove")
    yield box
    box.run("down")


def served(box: Box) -> str:
    """The model that answers for `chat`, by the books."""
    assert box.post(ask(max_tokens=3), box.key())[0] == 200
    return str(box.rows(1)[0]["model"])


def names(box: Box) -> list[str]:
    """The processes that run."""
    return [process["name"] for process in box.document("status")["processes"]]


def listed(run: Path) -> tuple[ProcessState, ...]:
    """The processes of the supervisor's last report."""
    report = read_report(run)
    return report.processes if report else ()


@contextmanager
def clients(box: Box) -> Iterator[list[tuple[int, object]]]:
    """Eight people who ask without a pause; what comes back is added to the list."""
    key, over, answers = box.key(), threading.Event(), list[tuple[int, object]]()

    def work(number: int) -> None:
        while not over.is_set():
            streamed = number % 2 == 0
            status, _, said = box.post(ask("Count to five", max_tokens=6, stream=streamed), key)
            whole = status == 200 and (not streamed or str(said).rstrip("'").endswith(r"data: [DONE]\n\n"))
            answers.append((status if whole else 0, said))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_eight_clients_do_not_notice_that_the_model_is_exchanged(up: Box) -> None:
    before = len(up.rows())
    with clients(up) as answers:
        wait_until(lambda: len(answers) >= CLIENTS, 60, "the first answers")
        found = up.document("models", "use", "second", timeout=300)
        after = len(answers)
        wait_until(lambda: len(answers) >= after + CLIENTS, 60, "answers of the new model")
    assert [answer for answer in answers if answer[0] != 200] == []
    assert (found["id"], found["serving"]) == ("second", True)
    assert found["proof"]["alarm"] is None
    rows = up.rows()
    rows = rows[: len(rows) - before]
    assert {row["outcome"] for row in rows} == {"complete"}
    assert {row["model"] for row in rows} == {EMBEDDED, "second"}
    assert names(up) == ["chat-2", "serve"]
    assert up.document("status")["healthy"] is True


def test_the_choice_stands_in_the_settings_and_the_rest_of_them_is_as_it_was(up: Box) -> None:
    text = up.config.read_text()
    assert "# The admin's own words." in text
    assert "context = 1024" in text
    assert load(up.config).engines["chat"].model == "second"
    # And what runs is what they ask for.
    assert "settings have changed" not in up.run("up").stderr


def test_a_model_that_serves_already_is_left_alone(up: Box) -> None:
    before = names(up)
    found = up.document("models", "use", "second")
    assert found["serving"] is True
    assert names(up) == before


def test_a_model_that_does_not_start_changes_nothing(up: Box) -> None:
    settings = up.config.read_text()
    with clients(up) as answers:
        wait_until(lambda: len(answers) >= CLIENTS, 60, "the first answers")
        done = up.run("models", "use", "broken", code=1, timeout=300)
    assert "process-failed" in done.stderr
    assert "model loading error" in done.stderr
    assert [answer for answer in answers if answer[0] != 200] == []
    assert served(up) == "second"
    assert names(up) == ["chat-2", "serve"]
    assert up.config.read_text() == settings


def test_an_exchange_that_is_killed_is_undone_by_the_next_up(up: Box) -> None:
    killed = subprocess.Popen(
        up.argv("models", "use", "broken"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    # Read here, not by a command: the new process soon fails, and then nothing is cut off any more.
    run = Home(up.config, up.state).run
    wait_until(lambda: any(one.name == "chat" for one in listed(run)), 60, "the new process")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert any("cut off" in problem for problem in up.document("status", code=1)["problems"])
    assert served(up) == "second"
    up.run("up")
    wait_until(lambda: names(up) == ["chat-2", "serve"], 20, "the old list")
    assert up.document("status")["healthy"] is True
    assert served(up) == "second"


def test_without_room_for_both_requests_wait_for_the_new_model(up: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    home, said = Home(up.config, up.state), list[str]()
    short = replace(probe(), memory_available=1)
    monkeypatch.setattr(use_module, "probe", lambda: short)
    with clients(up) as answers:
        wait_until(lambda: len(answers) >= CLIENTS, 60, "the first answers")
        model = catalogue(home).get(EMBEDDED)
        found = use_module.use(home, load(home.config), model, "chat", None, None, said.append)
        after = len(answers)
        wait_until(lambda: len(answers) >= after + CLIENTS, 60, "answers of the new model")
    assert any("requests wait" in words for words in said)
    assert [answer for answer in answers if answer[0] != 200] == []
    assert found.proof is not None
    assert served(up) == EMBEDDED
    assert names(up) == ["chat", "serve"]


def test_without_room_for_both_a_model_that_does_not_start_gives_the_old_one_back(
    up: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, said = Home(up.config, up.state), list[str]()
    short = replace(probe(), memory_available=1)
    monkeypatch.setattr(use_module, "probe", lambda: short)
    with clients(up) as answers:
        wait_until(lambda: len(answers) >= CLIENTS, 60, "the first answers")
        with pytest.raises(ApplianceError, match="model loading error"):
            use_module.use(home, load(home.config), catalogue(home).get("broken"), "chat", None, None, said.append)
        after = len(answers)
        wait_until(lambda: len(answers) >= after + CLIENTS, 60, "answers of the old model")
    assert [answer for answer in answers if answer[0] != 200] == []
    assert names(up) == ["chat", "serve"]
    assert served(up) == EMBEDDED


def test_a_model_that_is_not_where_it_was_planned_does_not_take_over(
    up: Box, nvml: Nvml, gpu_engine: Path, tmp_path: Path
) -> None:
    settings, before = up.config.read_text(), names(up)
    card = StubGpu("NVIDIA GeForce RTX 4090", 24 * GIB, 23 * GIB)
    env = nvml.environment(tmp_path / "gpus", card) | {"PYTHONPATH": f"{gpu_engine}:{ROOT}"}
    done = up.run("models", "use", "second", code=1, env=env, timeout=300)
    assert "switch-refused" in done.stderr
    assert "the engine did not use it" in done.stderr
    assert (served(up), names(up)) == (EMBEDDED, before)
    assert up.config.read_text() == settings
    assert up.document("status")["healthy"] is True


def test_a_gateway_that_does_not_take_the_route_leaves_everything_to_the_next_up(
    up: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, settings = Home(up.config, up.state), up.config.read_text()
    gateway = next(one["pid"] for one in up.document("status")["processes"] if one["name"] == "serve")
    monkeypatch.setattr(changing, "_TAKEN_S", 1.0)
    os.kill(gateway, signal.SIGSTOP)
    try:
        with pytest.raises(ApplianceError) as caught:
            use_module.use(home, load(home.config), catalogue(home).get("second"), "chat", None, None, print)
    finally:
        os.kill(gateway, signal.SIGCONT)
    assert caught.value.code == "switch-failed"
    up.run("up", "--no-prove")
    assert served(up) == EMBEDDED
    assert up.document("status")["healthy"] is True
    assert up.config.read_text() == settings


def test_without_an_id_it_is_what_the_plan_chooses(up: Box, model_file: Path) -> None:
    local = up.config.parent / "models.local.toml"
    before = local.read_text()
    own = local_model("terse", model_file).replace('"chat"', '"small"').replace("quality = 1\n", "quality = 100\n")
    digest = hashlib.sha256(model_file.read_bytes()).hexdigest()
    local.write_text(before + own + f'size = {model_file.stat().st_size}\nsha256 = "{digest}"\n')
    try:
        (found,) = up.document("models", "use", "--role", "small")
        assert (found["id"], found["role"], found["serving"]) == ("terse", "small", True)
        # The chat model's engine gave it a share of the cores, and was exchanged for one with fewer threads.
        home = Home(up.config, up.state)
        shares = {one.plan.role: one.plan.threads for one in running.read(home)}
        cores = probe().cores
        assert shares == {"chat": threads_of("chat", ("small",), cores), "small": threads_of("small", ("chat",), cores)}
        assert len(names(up)) == 3
        status, _, _ = up.post(ask(model="small", max_tokens=3), up.key())
        assert (status, up.rows(1)[0]["model"]) == (200, "terse")
        assert served(up) == EMBEDDED
    finally:
        up.config.write_text(up.config.read_text().partition("[engines.small]")[0])
        local.write_text(before)
        up.run("down")
        up.run("up", "--no-prove")


def test_nothing_is_exchanged_unless_everything_could_be_fetched(up: Box) -> None:
    settings, before = up.config.read_text(), names(up)
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    done = up.run("models", "use", code=None, env=nowhere, timeout=300)
    assert done.returncode != 0
    assert "Example" not in done.stderr
    assert (names(up), up.config.read_text()) == (before, settings)
    assert served(up) == EMBEDDED


def test_a_share_of_the_machine_is_for_one_model(up: Box) -> None:
    assert "wrong-use" in up.run("models", "use", "--slots", "2", code=2).stderr


def test_a_model_that_needs_a_yes_is_not_fetched_without_it(up: Box) -> None:
    done = up.run("models", "use", "llama-2-7b-q4_k_m", code=4)
    assert "needs-yes" in done.stderr
    assert "appliance models use llama-2-7b-q4_k_m --accept" in done.stderr


def test_while_the_box_is_down_only_the_choice_is_kept(up: Box) -> None:
    up.run("down")
    try:
        found = up.document("models", "use", "second", "--slots", "2")
        assert (found["serving"], found["slots"]) == (False, 2)
        started = time.monotonic()
        up.run("up", "--no-prove")
        assert time.monotonic() - started < 60
        assert served(up) == "second"
    finally:
        up.run("up", "--no-prove")


def test_what_nobody_has_named_stays_open_for_tuning(box: Box, model_file: Path) -> None:
    (box.state / "models").mkdir(parents=True)
    (box.state / "models" / model_file.name).symlink_to(model_file)
    box.run("models", "use", EMBEDDED)
    assert load(box.config).engines["chat"].model_fields_set == {"model"}
    box.run("models", "use", EMBEDDED, "--slots", "4")
    assert load(box.config).engines["chat"].model_fields_set == {"model", "slots"}


def test_what_was_tuned_is_served_and_what_the_settings_name_outranks_it(box: Box, model_file: Path) -> None:
    (box.state / "models").mkdir(parents=True)
    (box.state / "models" / model_file.name).symlink_to(model_file)
    box.configure("[engines.chat]\ncontext = 1024\nkv = 'f16'\n")
    box.run("up", "--no-prove")
    with session(box.state / "appliance.db") as opened:
        found: dict[str, int | str] = {"slots": 3, "kv": "q8_0", "micro_batch": 256}
        tunings.save(opened, machine_key(probe()), EMBEDDED, found, ())
    # The model is the same, and is to run in another way.
    box.run("models", "use", EMBEDDED)
    (plan,) = (one.plan for one in running.read(Home(box.config, box.state)))
    assert (plan.slots, plan.kv, plan.options.micro_batch) == (3, "f16", 256)
    assert "settings have changed" not in box.run("up", "--no-prove").stderr
    box.run("down")
    box.run("up", "--no-prove")
    (again,) = (one.plan for one in running.read(Home(box.config, box.state)))
    assert replace(again, socket=plan.socket) == plan
