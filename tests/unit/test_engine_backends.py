"""Which build of the engine a machine gets, by its graphics cards, drivers and toolkits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.engine.backends import CPU, Backend, Nvcc, PassedOver, VulkanKit, chip_of, choose, demand
from appliance.errors import ApplianceError
from appliance.hardware.facts import Gpu, Hardware
from appliance.hardware.problems import problem
from docs.machines import card

KIT = VulkanKit((1, 4, 309), glslc=True, spirv=True, library=True, drivers=True)
LINK = "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined"
VULKAN = Backend("vulkan", ("-DGGML_VULKAN=ON", LINK), (), "system", "headers 1.4.309")
BARE = Hardware("Test CPU", frozenset({"avx2"}), cores=2, memory=2**33)
RTX_4090 = replace(card(24, 1008), cuda="13.0", driver="580.65.06", compute_capability="8.9")
NVCC = Nvcc("/usr/local/cuda/bin/nvcc", (12, 4), frozenset({50, 60, 61, 70, 75, 80, 86, 89, 90}))


def machine(*gpus: Gpu) -> Hardware:
    """A machine with these GPUs."""
    return replace(BARE, gpus=gpus)


def built(hardware: Hardware, nvcc: Nvcc | None = None, kit: VulkanKit = KIT) -> list[tuple[str, str]]:
    """Each build that would be tried, and its toolkit."""
    return [(one.name, one.toolkit) for one in choose(hardware, nvcc, kit) if isinstance(one, Backend)]


def reasons(hardware: Hardware, nvcc: Nvcc | None = None, kit: VulkanKit = KIT) -> dict[str, PassedOver]:
    """What is passed over, by backend."""
    return {one.backend: one for one in choose(hardware, nvcc, kit) if isinstance(one, PassedOver)}


def test_a_machine_without_graphics_cards_gets_the_processors_build_and_no_words() -> None:
    assert choose(BARE, NVCC, VulkanKit()) == (CPU,)


def test_an_nvidia_card_gets_cuda_then_vulkan_then_the_processor() -> None:
    cuda, *others = choose(machine(RTX_4090), None, KIT)
    assert isinstance(cuda, Backend)
    assert (cuda.name, cuda.architectures, cuda.toolkit) == ("cuda", ("89",), "packages")
    assert {"-DGGML_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=89-real", "-DGGML_CUDA_NO_VMM=ON"} <= set(cuda.options)
    assert others == [VULKAN, CPU]


def test_an_h100_and_two_cards_of_different_kinds_are_each_compiled_for() -> None:
    h100 = replace(card(80, 3350), cuda="13.0", compute_capability="9.0")
    (cuda, *_) = choose(machine(h100), None, KIT)
    assert isinstance(cuda, Backend)
    assert cuda.architectures == ("90",)
    blackwell = replace(RTX_4090, compute_capability="12.0")
    (cuda, *_) = choose(machine(blackwell, RTX_4090, blackwell), None, KIT)
    assert isinstance(cuda, Backend)
    assert "-DCMAKE_CUDA_ARCHITECTURES=89-real;120-real" in cuda.options


def test_a_driver_that_is_too_old_is_told_with_the_one_that_is_needed() -> None:
    old = machine(replace(RTX_4090, cuda="12.4", driver="550.54.14"))
    assert built(old) == [("vulkan", "system"), ("cpu", "none")]
    over = reasons(old)["cuda"]
    assert "550.54.14, for CUDA 12.4" in over.reason
    assert "driver 580 or newer" in over.next


def test_a_driver_that_does_not_say_its_cuda_is_told() -> None:
    assert "does not say" in reasons(machine(replace(RTX_4090, cuda=None)))["cuda"].reason


@pytest.mark.parametrize("capability", ["5.2", "6.1", "7.0"])
def test_cards_that_cuda_13_left_behind_need_a_toolkit_of_the_systems_own(capability: str) -> None:
    pascal = machine(replace(RTX_4090, compute_capability=capability), RTX_4090)
    assert built(pascal) == [("vulkan", "system"), ("cpu", "none")]
    over = reasons(pascal)["cuda"]
    assert capability in over.reason
    assert "CUDA toolkit 12" in over.next
    able = replace(NVCC, chips=NVCC.chips | {52})
    assert built(pascal, able) == [("cuda", "system"), ("vulkan", "system"), ("cpu", "none")]


@pytest.mark.parametrize(
    ("version", "driver", "taken"),
    [
        ((12, 4), "12.4", True),
        ((12, 9), "12.4", True),  # a driver runs all of its own main version
        ((12, 4), "13.0", True),
        ((13, 0), "12.9", False),
        ((11, 8), "12.4", False),  # does not know the compilers of today
    ],
)
def test_the_systems_compiler_is_taken_where_the_driver_runs_what_it_makes(
    version: tuple[int, ...], driver: str, taken: bool
) -> None:
    found = built(machine(replace(RTX_4090, cuda=driver)), replace(NVCC, version=version))
    assert (found[0] == ("cuda", "system")) is taken


def test_the_packages_are_tried_after_the_systems_compiler() -> None:
    assert built(machine(RTX_4090), NVCC)[:2] == [("cuda", "system"), ("cuda", "packages")]
    too_new = machine(replace(RTX_4090, compute_capability="12.0"))
    assert built(too_new, NVCC)[0] == ("cuda", "packages"), "it does not know the chip"


@pytest.mark.parametrize("code", ["nvidia-driver-missing", "nvidia-driver-mismatch", "nvidia-no-permission"])
def test_an_nvidia_card_without_its_driver_is_an_alarm(code: str) -> None:
    broken = replace(BARE, problems=(problem("NVIDIA driver", code),))
    assert built(broken) == [("cpu", "none")]
    assert reasons(broken)["cuda"].reason.startswith("NVIDIA driver: ")


def test_a_lost_card_is_an_alarm_only_where_no_other_is_left() -> None:
    lost = replace(BARE, problems=(problem("NVIDIA card 1", "gpu-lost"),))
    assert "no longer answers" in reasons(lost)["cuda"].reason
    assert reasons(replace(lost, gpus=(RTX_4090,))) == {}


@pytest.mark.parametrize("vendor", ["amd", "intel"])
def test_other_cards_get_vulkan(vendor: str) -> None:
    other = machine(card(16, 576, vendor="amd" if vendor == "amd" else "intel"))
    assert choose(other, NVCC, KIT) == (VULKAN, CPU)


def test_another_card_without_its_driver_is_an_alarm() -> None:
    broken = replace(BARE, problems=(problem("AMD graphics 73df", "gpu-driver-missing"),))
    assert built(broken) == [("cpu", "none")]
    assert reasons(broken)["vulkan"].reason.startswith("AMD graphics 73df: ")


@pytest.mark.parametrize(
    ("kit", "said"),
    [
        (replace(KIT, headers=(1, 3, 239)), "headers are too old: 1.3.239, needed 1.3.272"),
        (replace(KIT, glslc=False), "glslc is missing"),
        (replace(KIT, library=False, spirv=False), "libvulkan-dev, spirv-headers are missing"),
        (VulkanKit(drivers=True), "glslc, libvulkan-dev, spirv-headers are missing"),
        (replace(KIT, drivers=False), "no Vulkan driver"),
    ],
)
def test_what_vulkan_lacks_is_told_with_its_packages(kit: VulkanKit, said: str) -> None:
    amd = machine(card(16, 576, vendor="amd"))
    assert built(amd, kit=kit) == [("cpu", "none")]
    assert said in reasons(amd, kit=kit)["vulkan"].reason


def test_a_newer_system_has_headers_that_are_new_enough() -> None:
    assert reasons(machine(card(16, 576, vendor="amd")), kit=replace(KIT, headers=(1, 3, 275))) == {}


def test_a_demand_needs_no_card_but_must_be_possible() -> None:
    (cuda,) = demand("cuda", ["90", "8.6"], BARE, None, VulkanKit())
    assert (cuda.architectures, cuda.toolkit) == (("86", "90"), "packages")
    assert demand("cuda", [], machine(RTX_4090), None, VulkanKit())[0].architectures == ("89",)
    assert demand("vulkan", [], BARE, None, replace(KIT, drivers=False)) == (VULKAN,)
    assert demand("cpu", [], machine(RTX_4090), None, KIT) == (CPU,)
    with pytest.raises(ApplianceError, match="glslc") as caught:
        demand("vulkan", [], BARE, None, replace(KIT, glslc=False))
    assert caught.value.code == "backend-impossible"
    with pytest.raises(ApplianceError, match="too old") as caught:
        demand("cuda", [], machine(replace(RTX_4090, cuda="12.4")), None, KIT)
    assert caught.value.code == "backend-impossible"
    with pytest.raises(ApplianceError, match=r"6\.1") as caught:
        demand("cuda", ["6.1"], BARE, None, KIT)
    assert caught.value.code == "backend-impossible"


@pytest.mark.parametrize(("name", "chips"), [("cpu", ["90"]), ("vulkan", ["90"]), ("cuda", []), ("cuda", ["hopper"])])
def test_a_demand_that_makes_no_sense_is_wrong_use(name: str, chips: list[str]) -> None:
    with pytest.raises(ApplianceError) as caught:
        demand("vulkan" if name == "vulkan" else "cuda" if name == "cuda" else "cpu", chips, BARE, None, KIT)
    assert caught.value.code == "wrong-use"


@pytest.mark.parametrize(("text", "chip"), [("9.0", 90), ("90", 90), ("12.0", 120), ("120", 120), ("8.6", 86)])
def test_a_compute_capability_is_written_both_ways(text: str, chip: int) -> None:
    assert chip_of(text) == chip
