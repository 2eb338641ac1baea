"""`appliance models plan` and `fit` as an admin types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.control.plan import catalogue
from bench.synthetic import SHAPES, write
from docs.machines import MACHINES
from tests.flow.test_hardware import CARDS
from tests.support import nvml as codes
from tests.support.box import Box
from tests.support.nvml import Nvml, StubGpu

pytestmark = pytest.mark.slow


def saved(folder: Path, machine: str) -> Path:
    """The facts of a machine, as `hardware --json` saves them."""
    file = folder / "facts.json"
    file.write_text(json.dumps(MACHINES[machine].to_json()))
    return file


def test_a_plan_for_another_machine_names_the_set_its_memory_and_what_was_passed_over(box: Box, tmp_path: Path) -> None:
    facts = saved(tmp_path, "32 GiB and a card of 12 GiB")
    found = json.loads(box.run("models", "plan", "--hardware", str(facts), "--json").stdout)
    chat, *beside = found["models"]
    assert (chat["role"], chat["where"]) == ("chat", "gpu")
    assert {model["role"] for model in beside} == {"embed", "small", "rerank"}
    assert chat["device_bytes"] == [sum(chat["devices"][0].values())]
    assert chat["host_bytes"] == sum(chat["host"].values())
    gpu = sum(model["device_bytes"][0] for model in found["models"] if model["device_bytes"])
    assert gpu + found["left"]["device_bytes"][0] == found["free"]["device_bytes"][0]
    for memory, left in zip(
        found["memory"], (found["left"]["host_bytes"], *found["left"]["device_bytes"]), strict=True
    ):
        parts = ("others", "display", "reserve", "planned", "left")
        assert memory["total"] == sum(memory[part] for part in parts)
        assert memory["left"] == left
    assert found["passed_over"][0]["reason"]
    assert found["upgrade"]["id"] != chat["id"]


def test_a_plan_reads_well_on_a_terminal(box: Box, tmp_path: Path) -> None:
    facts = saved(tmp_path, "16 GiB and a card of 8 GiB")
    said = box.run("models", "plan", "--hardware", str(facts), "--class", "7b", "--seats", "3").stdout
    assert "graphics card" in said
    assert "passed over" in said
    assert "With a graphics card with 12 GiB it could be" in said
    nothing = box.run("models", "plan", "--hardware", str(facts), "--class", "70b").stdout
    assert nothing.startswith("No model fits this machine.")


@pytest.mark.parametrize("machine", ["32 GiB, no graphics card", "64 GiB and two cards of 24 GiB"])
def test_one_file_is_planned_by_cause(box: Box, tmp_path: Path, machine: str) -> None:
    model, facts = tmp_path / "7b.gguf", saved(tmp_path, machine)
    write(model, SHAPES["mistral-7b"])
    options = ("--context", "8192", "--slots", "4", "--hardware", str(facts))
    found = json.loads(box.run("models", "fit", str(model), *options, "--json").stdout)
    kv = 2 * 32 * 8 * 128 * 2 * 8192 * 4
    if found["devices"]:
        assert len(found["device_bytes"]) == 2
        assert sum(parts["kv"] for parts in found["devices"]) > kv
        assert found["host_bytes"] < 1 << 30
    else:
        assert found["host"]["kv"] == kv
        assert found["mapped_bytes"] == model.stat().st_size
    assert found["fits"] is True
    words = box.run("models", "fit", str(model), *options, "--kv", "q8_0", "--no-repack").stdout
    assert "It fits: " in words


def test_a_file_that_does_not_fit_or_is_no_model_is_told(box: Box, tmp_path: Path) -> None:
    model, facts = tmp_path / "13b.gguf", saved(tmp_path, "8 GiB of memory, no graphics card")
    write(model, SHAPES["llama2-13b"])
    assert "It does not fit: " in box.run("models", "fit", str(model), "--hardware", str(facts)).stdout
    model.write_bytes(b"not a model")
    refused = box.run("models", "fit", str(model), "--json", code=1)
    assert json.loads(refused.stdout)["error"]["code"] == "model-not-gguf"


def taken(card: StubGpu) -> StubGpu:
    """A card of which another program holds half."""
    half = card.total // 2
    return replace(card, free=card.free - half, compute=((4711, half, "render"),))


@pytest.mark.parametrize(
    ("cards", "smallest_class"),
    [
        *(((CARDS[size],), "4b" if size < 8 else "7b" if size < 16 else "30b") for size in CARDS),
        ((CARDS[24], replace(CARDS[24], uuid="GPU-2")), "30b"),
        ((taken(CARDS[12]),), "4b"),
        ((replace(CARDS[8], active=True, free=CARDS[8].free - (600 << 20)),), "7b"),
    ],
    ids=[*map(str, CARDS), "2x24", "12, half taken", "8, a desktop"],
)
def test_the_real_command_plans_for_the_cards_of_the_driver(
    box: Box, nvml: Nvml, tmp_path: Path, cards: tuple[StubGpu, ...], smallest_class: str
) -> None:
    found = box.document("models", "plan", env=nvml.environment(tmp_path / "gpus", *cards))
    chat = found["models"][0]
    assert chat["where"] == "gpu"
    assert catalogue().get(chat["id"]).family.size_class == smallest_class
    for index, card in enumerate(cards):
        used = sum(model["device_bytes"][index] for model in found["models"] if model["device_bytes"])
        assert used < card.free
    assert all(passed["reason"] for passed in found["passed_over"])


@pytest.mark.parametrize("init", [codes.MISMATCH, codes.NOT_LOADED, codes.NO_PERMISSION])
def test_a_driver_that_does_not_work_leaves_the_processor(box: Box, nvml: Nvml, tmp_path: Path, init: int) -> None:
    found = box.document("models", "plan", env=nvml.environment(tmp_path / "gpus", CARDS[24], init=init))
    assert found["free"]["device_bytes"] == []
    assert {model["where"] for model in found["models"]} == {"cpu"}
