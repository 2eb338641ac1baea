"""What runs is measured and held against its plan, on the real engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.proof import records
from appliance.proof.tables import Proof
from appliance.store.sessions import session
from appliance.units import GIB
from tests.support.box import ROOT, Box, ask, endless, wait_until
from tests.support.nvml import Nvml, StubGpu

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[Box]:
    """A box that is up and proved, shared by the tests of this file."""
    box = boxed(Box(tmp_path_factory.mktemp("proof")), model_file)
    box.run("up")
    yield box
    box.run("down")


def boxed(box: Box, model_file: Path) -> Box:
    """A box with the embedded model on its shelf."""
    box.configure("[engines.chat]\ncontext = 1024\nslots = 2\n")
    (box.state / "models").mkdir(parents=True)
    (box.state / "models" / model_file.name).symlink_to(model_file)
    return box


def engine(box: Box, **how: Any) -> dict[str, Any]:
    """What `status` says of the engine."""
    found: dict[str, Any] = box.document("status", **how)["engines"][0]
    return found


def test_up_proves_what_it_has_started(up: Box) -> None:
    found = engine(up)
    proof = found["proof"]
    assert found["proved"] is True
    assert proof["alarm"] is None
    assert proof["filled"] >= 64
    # The limits that the planner is held to.
    assert 0.97 <= proof["host"]["planned"] / proof["host"]["taken"] <= 1.08
    caches = proof["dry_run"]["context"]
    assert caches["planned"] == caches["llama_cpp"]
    assert proof["offloaded"] is None
    assert proof["writes"] > 0
    assert proof["writes_together"] > 0
    words = up.run("status").stdout
    assert "proved: " in words
    assert "tokens a second for one" in words


def test_the_list_of_models_shows_what_was_measured(up: Box) -> None:
    found = up.document("models", "list")
    assert found[0]["proof"]["writes"] > 0
    assert "tok/s" in up.run("models", "list").stdout


def test_the_plan_reckons_with_what_was_measured(up: Box) -> None:
    measured = engine(up)["proof"]["writes"]
    wish = ("models", "plan", "--class", "trial", "--context", "1024", "--seats", "8", "--floor", "0")
    planned = up.document(*wish)["models"]
    assert planned[0]["tokens_per_second"]["alone"] == pytest.approx(measured, rel=0.05)


def test_an_engine_that_was_killed_is_not_proved_until_it_is_measured_again(up: Box) -> None:
    (pid,) = (one["pid"] for one in up.document("status")["processes"] if one["name"] == "chat")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: engine(up, code=None)["proved"] is False, 20, "the new process")
    wait_until(lambda: up.document("status", code=None)["healthy"], 30, "health")
    assert "not since: `appliance models prove`" in up.run("status").stdout
    up.run("models", "prove")
    assert engine(up)["proved"] is True


def test_an_engine_at_work_is_not_slowed_down_for_a_measurement(up: Box) -> None:
    opened = up.open(up.key(), endless())
    opened.recv(1000)
    (proof,) = up.document("models", "prove")
    opened.close()
    assert proof["writes"] is None
    assert proof["alarm"] is None


def test_slower_than_the_baseline_is_an_alarm_and_a_new_baseline_ends_it(up: Box) -> None:
    with session(up.state / "appliance.db") as opened:
        known = opened.get_one(Proof, 1)
        faster = known.model_dump(exclude={"id"}) | {"is_baseline": True, "alone_speed": known.alone_speed * 20}
        records.save(opened, Proof(**faster))
    (proof,) = up.document("models", "prove", code=1)
    assert proof["alarm"] == "slow"
    assert "tokens a second" in proof["cause"]
    status = up.document("status")
    assert [alarm["code"] for alarm in status["alarms"]] == ["slow"]
    assert "less than 70 %" in up.run("status").stdout
    (proof,) = up.document("models", "prove", "--baseline")
    assert (proof["alarm"], proof["baseline"]) == (None, True)
    assert up.document("status")["alarms"] == []


def test_without_a_running_box_there_is_nothing_to_prove(box: Box) -> None:
    assert box.document("models", "prove", code=1)["error"]["code"] == "not-running"


@pytest.mark.parametrize(
    ("used", "cause"),
    [(0, "The card has room, and the engine did not use it"), (23 * GIB, "of graphics memory, and")],
)
def test_a_model_that_is_not_on_the_card_is_never_silent(
    box: Box, nvml: Nvml, model_file: Path, gpu_engine: Path, tmp_path: Path, used: int, cause: str
) -> None:
    boxed(box, model_file)
    others = ((4711, used, "render"),) if used else ()
    card = StubGpu("NVIDIA GeForce RTX 4090", 24 * GIB, 24 * GIB - 300 * 2**20 - used, compute=others)
    env = nvml.environment(tmp_path / "gpus", card) | {"PYTHONPATH": f"{gpu_engine}:{ROOT}"}
    said = box.run("up", env=env)
    found = box.document("status", env=env, code=None)
    if used:
        # Planned for the processor, with the reason.
        assert cause in found["engines"][0]["off_gpu_because"]
        assert cause in said.stderr
    else:
        assert found["alarms"][0]["code"] == "gpu-not-used"
        assert found["healthy"] is False
        assert cause in found["problems"][0]
        assert cause in said.stderr
    assert box.post(ask(max_tokens=3), box.key())[0] == 200, "it serves all the same"


def test_a_card_that_is_gone_is_an_alarm_with_the_drivers_reason(
    box: Box, nvml: Nvml, model_file: Path, gpu_engine: Path, tmp_path: Path
) -> None:
    boxed(box, model_file)
    env = nvml.environment(tmp_path / "gpus", init=15) | {"PYTHONPATH": f"{gpu_engine}:{ROOT}"}
    box.run("up", "--no-prove", env=env)
    box.run("models", "prove", env=env)
    with session(box.state / "appliance.db") as opened:
        known = opened.get_one(Proof, 1)
        on_card = known.model_dump(exclude={"id"}) | {"is_baseline": True, "offloaded": True, "planned_gpu": GIB}
        records.save(opened, Proof(**on_card))
    (proof,) = box.document("models", "prove", env=env, code=1)
    assert proof["alarm"] == "gpu-not-used"
    assert "driver" in proof["cause"]
