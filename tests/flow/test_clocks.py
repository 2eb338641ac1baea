"""Clocks that are held down: of cards through a driver library of ours, of processors through the kernel's files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import nvml as codes
from tests.support.box import environment
from tests.support.nvml import Nvml, StubGpu, build
from tests.support.sysfs import FakeTree

GIB = 2**30
CARD = StubGpu("NVIDIA GeForce RTX 4090", 24 * GIB, 24 * GIB)
# Bits of nvml.h.
IDLE, ADMIN, POWER_LIMIT, HW_SLOWDOWN, SW_HEAT, HW_HEAT, POWER_BRAKE = 0x01, 0x02, 0x04, 0x08, 0x20, 0x40, 0x80
PROGRAM = """
import json, sys; from pathlib import Path
from appliance.hardware.clocks import held_down; from appliance.hardware.tree import Tree
print(json.dumps(held_down(Tree(sys=Path(sys.argv[1]) / 'sys'))))
"""


def told(root: Path, env: Mapping[str, str]) -> str:
    """What a process that meets this driver and these files says."""
    command = [sys.executable, "-c", PROGRAM, str(root)]
    done = subprocess.run(command, env=environment() | dict(env), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return str(json.loads(done.stdout))


def of_cards(nvml: Nvml, folder: Path, *gpus: StubGpu, init: int = 0) -> str:
    """What is said of these cards, beside a processor that keeps silent."""
    return told(folder, nvml.environment(folder / "gpus", *gpus, init=init))


def of_processor(folder: Path, *cores: tuple[object, object]) -> str:
    """What is said of cores at this clock, of this highest clock, in kHz; an empty file is no driver's library."""
    fake = FakeTree(folder)
    (folder / "libnvidia-ml.so.1").touch()
    for number, (now, most) in enumerate(cores):
        place = f"sys/devices/system/cpu/cpu{number}/cpufreq"
        fake.write({f"{place}/scaling_cur_freq": now, f"{place}/cpuinfo_max_freq": most})
    return told(folder, {"LD_LIBRARY_PATH": str(folder)})


@pytest.mark.parametrize(
    ("reasons", "why"),
    [
        (SW_HEAT, "it is too hot"),
        (HW_HEAT | HW_SLOWDOWN, "it is too hot"),
        (POWER_BRAKE | HW_SLOWDOWN, "its power supply says that it draws too much"),
        (HW_SLOWDOWN, "the card protects itself"),
        (POWER_LIMIT | SW_HEAT, "it is too hot"),
    ],
)
def test_a_card_that_is_slowed_down_says_why(nvml: Nvml, tmp_path: Path, reasons: int, why: str) -> None:
    slowed = replace(CARD, sm_now=1500, reasons=reasons)
    assert of_cards(nvml, tmp_path, slowed) == f"the graphics card's clock is down to 1500 of 2100 MHz, because {why}."


@pytest.mark.parametrize("reasons", [0, ADMIN, POWER_LIMIT])
def test_a_clock_far_below_the_highest_is_told_without_a_reason(nvml: Nvml, tmp_path: Path, reasons: int) -> None:
    low = replace(CARD, sm_now=300, reasons=reasons)
    assert of_cards(nvml, tmp_path, low) == "the graphics card's clock is down to 300 of 2100 MHz."


@pytest.mark.parametrize(
    ("clock", "reasons"),
    [(2000, 0), (1300, 0), (1800, POWER_LIMIT), (210, IDLE)],
    ids=["full", "a little low", "at its power limit", "at rest"],
)
def test_a_card_as_it_should_be_is_no_cause(nvml: Nvml, tmp_path: Path, clock: int, reasons: int) -> None:
    assert of_cards(nvml, tmp_path, replace(CARD, sm_now=clock, reasons=reasons)) == ""


def test_of_several_cards_the_slowed_one_is_found_beside_lost_and_resting_ones(nvml: Nvml, tmp_path: Path) -> None:
    lost = replace(CARD, fail=(("all", codes.LOST),))
    silent = replace(CARD, fail=(("nvmlDeviceGetCurrentClocksThrottleReasons", codes.NOT_SUPPORTED),), sm_now=1)
    resting = replace(CARD, sm_now=210, reasons=IDLE)
    hot = replace(CARD, sm_now=1000, reasons=SW_HEAT)
    assert "1000 of 2100" in of_cards(nvml, tmp_path, lost, silent, resting, hot)


def test_a_driver_that_does_not_work_or_has_no_card_says_nothing(nvml: Nvml, tmp_path: Path) -> None:
    assert of_cards(nvml, tmp_path, replace(CARD, reasons=SW_HEAT), init=codes.MISMATCH) == ""
    assert of_cards(nvml, tmp_path) == ""


def test_a_driver_from_before_clocks_were_told_says_nothing(tmp_path: Path) -> None:
    assert of_cards(build(tmp_path, old=True), tmp_path, replace(CARD, sm_now=300)) == ""


def test_a_slowed_processor_is_told_by_its_fastest_core(tmp_path: Path) -> None:
    words = "the processor's clock is down to 900 of 4200 MHz."
    assert of_processor(tmp_path, (800_000, 4_000_000), (900_000, 4_200_000)) == words


@pytest.mark.parametrize(
    "cores",
    [
        [(800_000, 4_000_000), (3_900_000, 4_000_000)],
        [(2_500_000, 4_000_000)],
        [("<unknown>", 4_000_000)],
        [(900_000, "")],
        [],
    ],
    ids=["others rest", "a little low", "clock not told", "highest not told", "no files"],
)
def test_a_processor_that_works_or_tells_nothing_is_no_cause(
    tmp_path: Path, cores: list[tuple[object, object]]
) -> None:
    assert of_processor(tmp_path, *cores) == ""


def test_a_slowed_card_comes_before_a_slowed_processor(nvml: Nvml, tmp_path: Path) -> None:
    of_processor(tmp_path, (900_000, 4_000_000))
    (tmp_path / "libnvidia-ml.so.1").unlink()
    assert "graphics card" in of_cards(nvml, tmp_path, replace(CARD, sm_now=300))
    assert "processor" in of_cards(nvml, tmp_path, CARD)
