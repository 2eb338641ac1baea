"""AMD's and Intel's GPUs, from the files that their drivers show."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.hardware.drm import Names, find, names_in, vulkan_names
from appliance.hardware.facts import Gpu, Problem
from tests.support.sysfs import FakeTree

GIB = 2**30
MEMORY, AVAILABLE = 32 * GIB, 28 * GIB
AMD, INTEL = 0x1002, 0x8086
CARD = "0000:03:00.0"

SUMMARY = """
Devices:
========
GPU0:
	apiVersion         = 1.3.289
	vendorID           = 0x1002
	deviceID           = 0x73df
	deviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
	deviceName         = AMD Radeon RX 6700 XT (RADV NAVI22)
GPU1:
	vendorID           = 0x8086
	deviceID           = 0x56a0
	deviceType         = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
	deviceName         = Intel(R) Arc(tm) A770 Graphics (DG2)
GPU2:
	vendorID           = 0x10005
	deviceID           = 0x0000
	deviceType         = PHYSICAL_DEVICE_TYPE_CPU
	deviceName         = llvmpipe (LLVM 15.0.6, 256 bits)
"""


@pytest.fixture
def fake(tmp_path: Path) -> FakeTree:
    return FakeTree(tmp_path)


def only(fake: FakeTree, names: Names | None = None) -> tuple[Gpu, list[Problem]]:
    """The one GPU of a machine, and its problems."""
    (gpu,), problems = find(MEMORY, AVAILABLE, fake.tree, names)
    return gpu, problems


def amd(vram: int, used: int, gtt: int, maker: str | None) -> dict[str, object]:
    """An AMD GPU's memory as its driver shows it."""
    files = {"mem_info_vram_total": vram, "mem_info_vram_used": used, "mem_info_gtt_total": gtt, "mem_info_gtt_used": 0}
    return {**files, "mem_info_vram_vendor": maker} if maker else {**files}


def test_a_machine_without_graphics_has_neither_cards_nor_problems(fake: FakeTree) -> None:
    assert find(MEMORY, AVAILABLE, fake.tree) == ([], [])
    # A virtual machine's screen, a network card, and what is no number at all.
    fake.card("0000:00:01.0", 0x1234, 0x1111)
    fake.card("0000:00:03.0", AMD, 0x1000, {"class": "0x020000"})
    fake.card("0000:00:04.0", AMD, 0x1000, {"class": "odd"})
    assert find(MEMORY, AVAILABLE, fake.tree) == ([], [])


def test_an_amd_card_has_its_own_memory_even_where_it_could_borrow_more(fake: FakeTree) -> None:
    fake.card(CARD, AMD, 0x73DF, amd(12 * GIB, 2 * GIB, 16 * GIB, "samsung") | {"unique_id": "a1b2c3d4"})
    fake.node(CARD, 1, "amdgpu")
    folder = f"sys/bus/pci/devices/{CARD}"
    fake.write({f"{folder}/hwmon/hwmon3/power1_cap": 186_000_000, f"{folder}/drm/card1/card1-DP-1/status": "connected"})
    gpu, problems = only(fake, names_in(SUMMARY))
    assert problems == []
    assert (gpu.index, gpu.vendor, gpu.kind, gpu.name) == (1, "amd", "discrete", "AMD Radeon RX 6700 XT")
    assert (gpu.memory_total, gpu.memory_free) == (12 * GIB, 10 * GIB)
    assert (gpu.uuid, gpu.driver, gpu.power_limit_w, gpu.display) == ("a1b2c3d4", "amdgpu", 186, True)
    assert (gpu.cuda, gpu.bandwidth) == (None, None)


@pytest.mark.parametrize("maker", [None, "unknown"])
def test_an_amd_gpu_in_a_processor_borrows_the_hosts_memory(fake: FakeTree, maker: str | None) -> None:
    fake.card(CARD, AMD, 0x1681, amd(GIB // 2, GIB // 4, 15 * GIB, maker))
    fake.node(CARD, 0, "amdgpu")
    gpu, problems = only(fake)
    assert (gpu.kind, gpu.name, gpu.uuid, problems) == ("integrated", "AMD graphics 1681", CARD, [])
    assert (gpu.memory_total, gpu.memory_free) == (15 * GIB + GIB // 2, 15 * GIB + GIB // 4)


def test_what_an_amd_gpu_borrows_is_never_more_than_the_host_has(fake: FakeTree) -> None:
    fake.card(CARD, AMD, 0x1681, amd(GIB // 2, 0, 15 * GIB, None))
    fake.node(CARD, 0, "amdgpu")
    (gpu,), _ = find(8 * GIB, 3 * GIB, fake.tree)
    assert (gpu.memory_total, gpu.memory_free) == (8 * GIB + GIB // 2, 3 * GIB + GIB // 2)


def test_an_amd_card_of_an_unknown_maker_is_not_taken_for_a_processors(fake: FakeTree) -> None:
    fake.card(CARD, AMD, 0x7550, amd(16 * GIB, 0, 16 * GIB, "unknown") | {"product_name": "Radeon AI PRO"})
    fake.node(CARD, 0, "amdgpu")
    gpu, _ = only(fake)
    assert (gpu.kind, gpu.memory_total, gpu.name) == ("discrete", 16 * GIB, "Radeon AI PRO")


def test_an_intel_card_tells_its_local_memory(fake: FakeTree) -> None:
    fake.card(CARD, INTEL, 0x56A0)
    fake.node(CARD, 1, "i915")
    folder = f"sys/bus/pci/devices/{CARD}/drm/card1"
    fake.write({f"{folder}/lmem_total_bytes": 16 * GIB, f"{folder}/lmem_avail_bytes": 15 * GIB})
    gpu, problems = only(fake, names_in(SUMMARY))
    assert (gpu.vendor, gpu.kind, gpu.name) == ("intel", "discrete", "Intel(R) Arc(tm) A770 Graphics")
    assert (gpu.memory_total, gpu.memory_free, gpu.driver, problems) == (16 * GIB, 15 * GIB, "i915", [])


def test_an_intel_card_whose_driver_does_not_say_what_is_free_says_so(fake: FakeTree) -> None:
    fake.card(CARD, INTEL, 0xE20B, {"tile0/physical_vram_size_bytes": hex(12 * GIB)})
    fake.node(CARD, 0, "xe")
    gpu, problems = only(fake)
    assert (gpu.memory_total, gpu.memory_free) == (12 * GIB, 12 * GIB)
    assert [(one.subject, one.code) for one in problems] == [("Intel graphics e20b", "gpu-use-unknown")]


@pytest.mark.parametrize("vendor", [AMD, INTEL])
def test_a_card_of_unknown_size_is_there_but_not_counted_on(fake: FakeTree, vendor: int) -> None:
    fake.card(CARD, vendor, 0x56A0)
    fake.node(CARD, 0, "i915")
    gpu, problems = only(fake)
    assert (gpu.kind, gpu.memory_total, gpu.memory_free) == ("discrete", 0, 0)
    assert [one.code for one in problems] == ["gpu-memory-unknown"]


def test_intels_gpu_in_the_processor_uses_the_hosts_memory(fake: FakeTree) -> None:
    fake.card("0000:00:02.0", INTEL, 0x46A6)
    fake.node("0000:00:02.0", 0, "i915")
    gpu, problems = only(fake)
    assert (gpu.kind, gpu.memory_total, gpu.memory_free, problems) == ("integrated", MEMORY, AVAILABLE, [])


def test_a_card_without_a_driver_is_a_problem_and_a_servers_idle_intel_gpu_is_not(fake: FakeTree) -> None:
    fake.card("0000:00:02.0", INTEL, 0x46A6)
    fake.card(CARD, AMD, 0x73DF)
    gpus, problems = find(MEMORY, AVAILABLE, fake.tree)
    assert gpus == []
    assert [(one.subject, one.code) for one in problems] == [("AMD graphics 73df", "gpu-driver-missing")]


def test_a_card_that_this_process_may_not_use_is_shown_with_the_reason(fake: FakeTree) -> None:
    fake.card(CARD, AMD, 0x73DF, amd(12 * GIB, 0, GIB, "samsung"))
    fake.node(CARD, 0, "amdgpu", open=False)
    gpu, problems = only(fake)
    assert gpu.memory_total == 12 * GIB
    assert [one.code for one in problems] == ["gpu-no-permission"]
    assert "/dev/dri/renderD128" in problems[0].reason


def test_vulkans_names_leave_out_what_draws_on_the_processor() -> None:
    assert names_in(SUMMARY) == {
        ("amd", 0x73DF): "AMD Radeon RX 6700 XT",
        ("intel", 0x56A0): "Intel(R) Arc(tm) A770 Graphics",
    }
    assert names_in("Cannot create a Vulkan instance.\nGPU0:\n\tvendorID = 0x1002\n") == {}
    assert names_in("GPU0:\n\tvendorID = nonsense\n\tdeviceName = odd\n") == {}


def test_vulkaninfo_is_asked_only_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert vulkan_names() == {}
    program = tmp_path / "vulkaninfo"
    program.write_text(f"#!/bin/sh\n[ \"$1\" = --summary ] || exit 1\necho '{SUMMARY}'\n")
    program.chmod(0o755)
    assert vulkan_names() == names_in(SUMMARY)
    program.write_bytes(b"\x7fELF")
    assert vulkan_names() == {}
