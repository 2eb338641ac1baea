"""Cards and energy at this moment: through a driver library of ours, and the kernel's files of a test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.hardware.power import ProcessorEnergy
from tests.support import nvml as codes
from tests.support.box import environment
from tests.support.nvml import Nvml, StubGpu, build
from tests.support.sysfs import FakeTree

GIB = 2**30
CARD = StubGpu("NVIDIA GeForce RTX 4090", 24 * GIB, 18 * GIB, load=75, heat=61, draw=250_500, energy=4_000)
# Two readings, two seconds apart on the reader's clock.
PROGRAM = """
import json, sys; from dataclasses import asdict; from pathlib import Path
from appliance.hardware.power import MachineReader; from appliance.hardware.tree import Tree
clock = iter((10.0, float(sys.argv[2])))
reader = MachineReader(Tree(sys=Path(sys.argv[1]) / 'sys'), lambda: next(clock))
found = [reader.read(), reader.read()]
print(json.dumps([{**asdict(one), 'energy_mj': one.energy_mj} for one in found]))
"""


def told(root: Path, env: Mapping[str, str], second: float = 12.0) -> tuple[Any, Any]:
    """Two readings of a process that meets this driver and these files."""
    command = [sys.executable, "-c", PROGRAM, str(root), str(second)]
    done = subprocess.run(command, env=environment() | dict(env), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    first, later = json.loads(done.stdout)
    return first, later


def of_cards(nvml: Nvml, folder: Path, *gpus: StubGpu, init: int = 0, second: float = 12.0) -> tuple[Any, Any]:
    """The same of these cards, beside a processor that keeps silent."""
    return told(folder, nvml.environment(folder / "gpus", *gpus, init=init), second)


def test_a_card_tells_all_that_it_does(nvml: Nvml, tmp_path: Path) -> None:
    first, second = of_cards(nvml, tmp_path, CARD)
    (card,) = first["cards"]["cards"]
    assert card == {
        "index": 0, "up": True, "name": CARD.name, "memory_total": 24 * GIB, "memory_used": 6 * GIB,
        "utilization": 0.75, "temperature_c": 61, "power_mw": 250_500, "energy_mj": 4_000,
    }  # fmt: skip
    assert (first["gpu_mj"], first["cpu_mj"]) == (0, None)
    assert (second["gpu_mj"], second["energy_mj"]) == (4_000, 4_000)


def test_a_card_without_an_energy_counter_is_reckoned_by_its_power(nvml: Nvml, tmp_path: Path) -> None:
    old = replace(CARD, draw=100_000, fail=(("nvmlDeviceGetTotalEnergyConsumption", codes.NOT_SUPPORTED),))
    assert of_cards(nvml, tmp_path, old, CARD)[1]["gpu_mj"] == 204_000
    # Between readings that lie far apart nobody knows what it drew.
    assert of_cards(nvml, tmp_path, old, second=20.0)[1]["gpu_mj"] == 0


def test_what_a_card_does_not_tell_is_null_and_the_rest_is_there(nvml: Nvml, tmp_path: Path) -> None:
    queries = ("MemoryInfo", "UtilizationRates", "Temperature", "PowerUsage", "TotalEnergyConsumption")
    silent = replace(CARD, fail=tuple((f"nvmlDeviceGet{query}", codes.NOT_SUPPORTED) for query in queries))
    first, second = of_cards(nvml, tmp_path, silent)
    (card,) = first["cards"]["cards"]
    assert {name for name, value in card.items() if value is not None} == {"index", "up", "name"}
    assert second["energy_mj"] is None


def test_a_lost_card_is_down_and_the_others_are_not(nvml: Nvml, tmp_path: Path) -> None:
    lost = replace(CARD, fail=(("all", codes.LOST),))
    first, second = of_cards(nvml, tmp_path, lost, CARD)
    assert [card["up"] for card in first["cards"]["cards"]] == [False, True]
    assert second["gpu_mj"] == 4_000


def test_a_driver_that_does_not_work_is_told_and_is_no_failure(nvml: Nvml, tmp_path: Path) -> None:
    first, second = of_cards(nvml, tmp_path, CARD, init=codes.MISMATCH)
    assert first["cards"] == second["cards"] == {"up": False, "cards": []}
    assert second["energy_mj"] is None


def test_without_a_driver_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "libnvidia-ml.so.1").touch()
    first, second = told(tmp_path, {"LD_LIBRARY_PATH": str(tmp_path)})
    assert first["cards"] is second["cards"] is second["energy_mj"] is None


def test_a_driver_that_stops_is_told_too(nvml: Nvml, tmp_path: Path) -> None:
    first, second = told(tmp_path, nvml.environment(tmp_path / "gpus", CARD, counts=2))
    assert first["cards"]["up"]
    assert second["cards"] == {"up": False, "cards": []}
    assert second["energy_mj"] is None


def test_a_working_driver_without_a_card_is_no_loss(nvml: Nvml, tmp_path: Path) -> None:
    first, second = of_cards(nvml, tmp_path)
    assert first["cards"] == {"up": True, "cards": []}
    assert second["energy_mj"] is None


def test_a_driver_from_before_energy_was_counted_tells_the_rest(tmp_path: Path) -> None:
    first, _ = of_cards(build(tmp_path, old=True), tmp_path, CARD)
    (card,) = first["cards"]["cards"]
    assert (card["energy_mj"], card["power_mw"], card["temperature_c"]) == (None, 250_500, 61)


def test_cards_and_processor_add_up(nvml: Nvml, tmp_path: Path) -> None:
    FakeTree(tmp_path).write(
        {
            "sys/class/powercap/intel-rapl:0/name": "package-0",
            "sys/class/powercap/intel-rapl:0/energy_uj": 5_000_000,
        }
    )
    second = of_cards(nvml, tmp_path, CARD)[1]
    # Two readings of a counter that stands still.
    assert (second["gpu_mj"], second["cpu_mj"], second["energy_mj"]) == (4_000, 0, 4_000)


def rapl(fake: FakeTree, **domains: tuple[str, int]) -> None:
    """Counters by their place, as `0` or `0_0`: name and microjoules."""
    for place, (name, used) in domains.items():
        folder = f"sys/class/powercap/intel-rapl:{place.strip('d').replace('_', ':')}"
        fake.write(
            {f"{folder}/name": name, f"{folder}/energy_uj": used, f"{folder}/max_energy_range_uj": 262_143_328_850}
        )


def test_processors_are_summed_with_their_memory_and_nothing_twice(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path)
    reader = ProcessorEnergy(fake.tree)
    rapl(fake, d0=("package-0", 1_000), d0_0=("core", 9), d0_1=("dram", 0), d1=("package-1", 0), d2=("psys", 0))
    assert reader.read() == 0
    rapl(
        fake,
        d0=("package-0", 5_001_000),
        d0_0=("core", 3_000_009),
        d0_1=("dram", 1_000_000),
        d1=("package-1", 2_000_000),
        d2=("psys", 90_000_000),
    )
    assert reader.read() == 8_000


def test_a_counter_that_comes_round_goes_on(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path)
    reader = ProcessorEnergy(fake.tree)
    rapl(fake, d0=("package-0", 262_143_328_850 - 4_000_000))
    assert reader.read() == 0
    rapl(fake, d0=("package-0", 3_000_000))
    assert reader.read() == 7_000


def test_counters_that_are_not_there_or_may_not_be_read_are_no_reading(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path)
    assert ProcessorEnergy(fake.tree).read() is None
    rapl(fake, d0=("package-0", 5))
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    # What the kernel answers to all but root, in a form that root meets too.
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").mkdir()
    assert ProcessorEnergy(fake.tree).read() is None
