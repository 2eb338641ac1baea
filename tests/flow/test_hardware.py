"""Hardware facts of machines with every kind of NVIDIA GPU, whole and broken, through a driver library of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.hardware.facts import GpuUser
from tests.support import nvml as codes
from tests.support.box import Box, environment
from tests.support.nvml import Nvml, Prober, StubGpu
from tests.support.sysfs import FakeTree

GIB = 2**30
MIB = 2**20

# Names, sizes as the driver tells them, bus widths and memory clocks of cards as they are sold.
CARDS = {
    6: StubGpu("NVIDIA GeForce RTX 2060", 6 * GIB, 6 * GIB - 200 * MIB, bus=192, clock=7001, capability="7.5"),
    8: StubGpu("NVIDIA GeForce RTX 3070", 8 * GIB, 8 * GIB - 300 * MIB, bus=256, clock=7001, capability="8.6"),
    12: StubGpu("NVIDIA GeForce RTX 3060", 12 * GIB, 12 * GIB - 300 * MIB, bus=192, clock=7501, capability="8.6"),
    16: StubGpu("NVIDIA GeForce RTX 4080", 16 * GIB, 16 * GIB - 400 * MIB, bus=256, clock=11201),
    24: StubGpu("NVIDIA GeForce RTX 4090", 24 * GIB, 24 * GIB - 500 * MIB, bus=384, clock=10501, power=450_000),
    48: StubGpu("NVIDIA RTX 6000 Ada Generation", 48 * GIB, 48 * GIB - 600 * MIB, bus=384, clock=10001, power=300_000),
    80: StubGpu("NVIDIA A100 80GB PCIe", 80 * GIB, 80 * GIB - 700 * MIB, bus=5120, clock=1512, capability="8.0"),
}
BANDWIDTHS = {6: 336, 8: 448, 12: 360, 16: 717, 24: 1008, 48: 960, 80: 1935}


@pytest.fixture(scope="module")
def machine(nvml: Nvml) -> Iterator[Prober]:
    """A machine whose GPUs each test chooses."""
    prober = Prober(nvml)
    yield prober
    prober.end()


@pytest.mark.parametrize("size", CARDS)
def test_a_card_is_told_with_its_memory_and_its_speed(machine: Prober, size: int) -> None:
    found, card = machine.facts(CARDS[size]), CARDS[size]
    (gpu,) = found.gpus
    assert found.problems == ()
    assert (gpu.index, gpu.vendor, gpu.kind, gpu.name, gpu.uuid) == (0, "nvidia", "discrete", card.name, card.uuid)
    assert (gpu.memory_total, gpu.memory_free) == (card.total, card.free)
    assert (gpu.bus_bits, gpu.memory_clock_mhz) == (card.bus, card.clock)
    assert gpu.bandwidth is not None
    assert round(gpu.bandwidth / 1e9) == BANDWIDTHS[size]
    assert (gpu.compute_capability, gpu.power_limit_w) == (card.capability, card.power // 1000)
    assert (gpu.driver, gpu.cuda, gpu.users, gpu.display) == ("550.54.14", "12.4", (), False)


def test_two_cards_one_half_taken_by_another_program(machine: Prober) -> None:
    programs = ((4242, 11 * GIB, "/opt/other/bin/python3 -m train --secret x"), (99, codes.NOT_AVAILABLE, "ollama"))
    taken = replace(CARDS[24], uuid="GPU-2", free=12 * GIB, compute=programs)
    first, second = machine.facts(CARDS[24], taken).gpus
    assert (first.index, first.memory_free, first.users) == (0, CARDS[24].free, ())
    assert (second.index, second.uuid, second.memory_free) == (1, "GPU-2", 12 * GIB)
    assert second.users == (GpuUser(4242, "python3", 11 * GIB), GpuUser(99, "ollama", None))


@pytest.mark.parametrize("name", ["", "\udcff"], ids=["in another container", "not UTF-8"])
def test_a_program_may_lack_a_name_that_we_can_read(machine: Prober, name: str) -> None:
    nameless = replace(CARDS[24], compute=((7, GIB, name),))
    assert machine.facts(nameless).gpus[0].users == (GpuUser(7, "unknown", GIB),)


def test_a_desktops_card_drives_a_screen_and_names_who_draws(machine: Prober) -> None:
    both = (300, 512 * MIB, "/usr/bin/gnome-shell")
    drawing = replace(CARDS[8], active=True, graphics=((200, 256 * MIB, "/usr/lib/xorg/Xorg"), both), compute=(both,))
    plugged = replace(CARDS[8], mode=True)
    first, second = machine.facts(drawing, plugged).gpus
    assert (first.display, second.display) == (True, True)
    assert first.users == (GpuUser(300, "gnome-shell", 512 * MIB), GpuUser(200, "Xorg", 256 * MIB))


def test_unified_memory_is_the_hosts(machine: Prober) -> None:
    queries = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMemoryBusWidth", "nvmlDeviceGetMaxClockInfo")
    lacking = tuple((query, codes.NOT_SUPPORTED) for query in queries)
    found = machine.facts(StubGpu("NVIDIA GB10", 0, 0, power=0, capability="12.1", fail=lacking))
    (gpu,) = found.gpus
    assert found.problems == ()
    assert (gpu.kind, gpu.memory_total, gpu.memory_free) == ("unified", found.memory, found.memory_available)
    assert (gpu.bus_bits, gpu.bandwidth, gpu.power_limit_w) == (None, None, None)


def test_a_lost_card_is_a_problem_and_the_others_are_told(machine: Prober) -> None:
    lost = replace(CARDS[24], fail=(("all", codes.LOST),))
    # Lost between one query and the next, and one that the driver knows but cannot use before a reset.
    losing = replace(CARDS[24], fail=(("nvmlDeviceGetPowerManagementLimit", codes.LOST),))
    stuck = replace(CARDS[24], fail=(("nvmlDeviceGetMemoryInfo", codes.RESET_REQUIRED),))
    found = machine.facts(CARDS[24], lost, CARDS[12], losing, stuck)
    assert [gpu.index for gpu in found.gpus] == [0, 2]
    assert [(one.subject, one.code) for one in found.problems] == [
        ("NVIDIA card 1", "gpu-lost"),
        ("NVIDIA card 3", "gpu-lost"),
        ("NVIDIA card 4", "gpu-needs-reset"),
    ]


def test_a_query_that_fails_costs_one_fact_and_a_needed_one_the_card(machine: Prober) -> None:
    failing = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetUUID")
    odd = replace(CARDS[24], fail=tuple((query, codes.UNKNOWN) for query in failing))
    nameless = replace(CARDS[24], fail=(("nvmlDeviceGetName", codes.UNKNOWN),))
    hidden = replace(CARDS[24], fail=(("nvmlDeviceGetMemoryInfo", codes.NO_PERMISSION),))
    found = machine.facts(odd, nameless, hidden)
    assert [(gpu.index, gpu.uuid, gpu.users) for gpu in found.gpus] == [(0, "", ())]
    assert [one.code for one in found.problems] == ["nvidia-failed", "gpu-no-permission"]
    assert "(NVML 999)" in found.problems[0].reason
    assert "/dev/nvidia2" in found.problems[1].reason


@pytest.mark.parametrize(
    ("init", "code"),
    [
        (codes.MISMATCH, "nvidia-driver-mismatch"),
        (codes.NOT_LOADED, "nvidia-driver-not-loaded"),
        (codes.NO_PERMISSION, "nvidia-no-permission"),
        (codes.UNKNOWN, "nvidia-failed"),
        # What no version of NVML returns yet.
        (77, "nvidia-failed"),
    ],
)
def test_a_driver_that_does_not_work_is_a_fact_with_a_reason(machine: Prober, init: int, code: str) -> None:
    found = machine.facts(CARDS[24], init=init)
    assert found.gpus == ()
    assert [(one.subject, one.code) for one in found.problems] == [("NVIDIA driver", code)]


def test_a_driver_that_is_mended_is_found_again(machine: Prober) -> None:
    assert machine.facts(CARDS[24], init=codes.MISMATCH).gpus == ()
    assert len(machine.facts(CARDS[24]).gpus) == 1


@pytest.mark.parametrize("card", [True, False], ids=["card", "no card"])
def test_without_the_library_a_card_lacks_its_driver(tmp_path: Path, card: bool) -> None:
    """An empty file in the library's place is none, whatever this machine has installed."""
    fake = FakeTree(tmp_path)
    if card:
        fake.card("0000:01:00.0", 0x10DE, 0x2684)
    (tmp_path / "libnvidia-ml.so.1").touch()
    program = (
        "import sys; from pathlib import Path; from appliance.hardware.nvidia import find;"
        " from appliance.hardware.tree import Tree;"
        " gpus, problems = find(8, 4, Tree(sys=Path(sys.argv[1]) / 'sys'));"
        " print(len(gpus), *[one.code for one in problems], 'pynvml' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env=environment() | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["0", *(["nvidia-driver-missing"] if card else []), "False"]


def test_a_person_reads_why_there_is_no_card_and_what_to_do(box: Box, nvml: Nvml) -> None:
    env = nvml.environment(box.folder / "gpus", CARDS[24], init=codes.MISMATCH)
    lines = box.run("hardware", "--quick", env=env).stdout.splitlines()
    assert lines[-2] == "Graphics card  none that can be used"
    assert lines[-1].startswith("Problem        NVIDIA driver: The NVIDIA driver was updated")
    assert lines[-1].endswith("restart the machine.")


@pytest.mark.slow
def test_facts_saved_on_one_machine_are_shown_on_another(box: Box, nvml: Nvml) -> None:
    env = nvml.environment(box.folder / "gpus", CARDS[24], CARDS[24])
    document = box.run("hardware", "--json", env=env).stdout
    assert json.loads(document)["memory_bandwidth"] > 0
    saved = box.folder / "facts.json"
    saved.write_text(document)
    assert box.run("hardware", "--from", str(saved)).stdout.count("NVIDIA GeForce RTX 4090") == 2
    assert not box.state.exists(), "looking changes nothing"


def test_a_file_that_holds_no_facts_is_refused(box: Box) -> None:
    error = box.document("hardware", "--from", str(box.config), code=2)["error"]
    assert error["code"] == "hardware-file-bad"
    assert str(box.config) in error["message"]
