"""Which builds of the engine to try on a machine, best first, and why not the better ones: pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from appliance.errors import ApplianceError
from appliance.hardware.facts import Gpu, Hardware, Problem

Name = Literal["cpu", "cuda", "vulkan"]
NAMES: Final[dict[Name, str]] = {"cuda": "CUDA", "vulkan": "Vulkan", "cpu": "the processor"}

Version = tuple[int, ...]

# NVIDIA's packages with a compiler begin with CUDA 13, which needs a driver for 13 and left the older chips behind.
_PACKAGES: Final = 13
_PACKAGES_OLDEST_CHIP: Final = 75
_DRIVER_FOR_PACKAGES: Final = "580"
# CUDA 11 does not know the compilers of the systems that we run on.
_OLDEST_NVCC: Final = (12, 0)
# vk::LayerSettingEXT, which llama.cpp uses.
_OLDEST_HEADERS: Final = (1, 3, 272)
_VULKAN_PACKAGES: Final = "glslc libvulkan-dev spirv-headers"
_AGAIN: Final = "then run the installer again."


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to build the engine: cmake options, the chips it is for (`90` is 9.0), and the toolkit that compiles it.

    `toolkit_version` is a part of the build's name, so that a newer toolkit builds anew; `nvcc` is the path of
    the system's compiler.
    """

    name: Name
    options: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    toolkit: Literal["none", "packages", "system"] = "none"
    toolkit_version: str = ""
    nvcc: str = ""


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A better build that this machine does not get: why, and what to do about it."""

    backend: Name
    reason: str
    next: str

    def to_json(self) -> dict[str, str]:
        """The `--json` form."""
        return {"backend": self.backend, "reason": self.reason, "next": self.next}


@dataclass(frozen=True, slots=True)
class Nvcc:
    """The system's CUDA compiler: path, version, and the chips that it compiles for (90 is 9.0)."""

    path: str
    version: Version
    chips: frozenset[int]


@dataclass(frozen=True, slots=True)
class VulkanKit:
    """What the system has to build for Vulkan with; `headers` is their version. `drivers`: to run it with."""

    headers: Version | None = None
    glslc: bool = False
    spirv: bool = False
    library: bool = False
    drivers: bool = False


CPU: Final = Backend("cpu")

# The toolkit's libraries need not be where the linker looks: they come to lie beside the programs only at the end.
_LINK: Final = "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined"


def choose(hardware: Hardware, nvcc: Nvcc | None, vulkan: VulkanKit) -> tuple[Backend | PassedOver, ...]:
    """The builds for a machine, best first, each as it can be made or as the reason why it cannot.

    CUDA, then Vulkan, as the graphics cards allow; the last is always the processor's.
    """
    steps: list[Backend | PassedOver] = []
    nvidia = [gpu for gpu in hardware.gpus if gpu.vendor == "nvidia"]
    if nvidia:
        steps += _cuda(nvidia, nvcc)
    else:
        steps += [_broken("cuda", one) for one in hardware.problems if _is_nvidias(one)]
    if hardware.gpus:
        steps.append(_without_vulkan(vulkan) or _vulkan(vulkan))
    else:
        steps += [_broken("vulkan", one) for one in hardware.problems if one.code == "gpu-driver-missing"]
    return (*steps, CPU)


def demand(
    name: Name, chips: Sequence[str], hardware: Hardware, nvcc: Nvcc | None, vulkan: VulkanKit
) -> tuple[Backend, ...]:
    """The ways to make the build that was asked for, best first; `chips` are CUDA's, else those of the cards here.

    Raises wrong-use, or backend-impossible where this machine cannot make it.
    """
    if chips and name != "cuda":
        raise ApplianceError("wrong-use", "Only a CUDA build is for certain chips.", "Leave out --capability.")
    if name == "cpu":
        return (CPU,)
    if name == "vulkan":
        # The drivers may well be on another machine.
        reason = _without_vulkan(vulkan, to_run=False)
        if reason:
            raise ApplianceError("backend-impossible", reason.reason, reason.next)
        return (_vulkan(vulkan),)
    nvidia = [gpu for gpu in hardware.gpus if gpu.vendor == "nvidia"]
    if not chips and not nvidia:
        raise ApplianceError(
            "wrong-use",
            "This machine has no NVIDIA card that works, so it is not known what to build for.",
            "Name the card's compute capability: --capability 9.0",
        )
    # Chips that are named may well be of another machine, whose driver nobody knows here.
    wanted = {chip_of(chip) for chip in chips}
    found = _cuda(nvidia, nvcc) if not chips else _toolkits(wanted, nvcc, None) or (_left_behind(wanted),)
    ways = tuple(one for one in found if isinstance(one, Backend))
    for over in found:
        if isinstance(over, PassedOver):
            raise ApplianceError("backend-impossible", over.reason, over.next)
    return ways


def chip_of(capability: str) -> int:
    """A compute capability as a number: 90 for `9.0` and for `90`. Raises wrong-use."""
    match = re.fullmatch(r"(\d{1,2})\.?(\d)", capability)
    if not match:
        raise ApplianceError(
            "wrong-use", f"{capability} is no compute capability.", "Give one as NVIDIA writes it: 8.6, or 86"
        )
    return int(match[1] + match[2])


def _is_nvidias(problem: Problem) -> bool:
    return problem.code.startswith("nvidia-") or problem.subject.startswith("NVIDIA")


def _broken(backend: Name, problem: Problem) -> PassedOver:
    return PassedOver(backend, f"{problem.subject}: {problem.reason}", f"Mend that, {_AGAIN}")


def _chips(gpus: Sequence[Gpu]) -> set[int]:
    return {chip_of(gpu.compute_capability) for gpu in gpus if gpu.compute_capability}


def _cuda(gpus: Sequence[Gpu], nvcc: Nvcc | None) -> tuple[Backend | PassedOver, ...]:
    """The ways to build for NVIDIA cards, or why there is none."""
    driver, version = version_of(gpus[0].cuda or ""), gpus[0].driver or "of unknown version"
    chips = _chips(gpus)
    if not driver or not chips:
        reason = "The NVIDIA driver does not say which CUDA it is for."
        return (PassedOver("cuda", reason, f"Install NVIDIA's newest driver, {_AGAIN}"),)
    built = _toolkits(chips, nvcc, driver)
    if built:
        return built
    if min(chips) < _PACKAGES_OLDEST_CHIP:
        return (_left_behind(chips),)
    reason = (
        f"The NVIDIA driver is too old: {version}, for CUDA {gpus[0].cuda},"
        f" and the packages that the engine is built with need one for CUDA {_PACKAGES}."
    )
    return (PassedOver("cuda", reason, f"Install NVIDIA's driver {_DRIVER_FOR_PACKAGES} or newer, {_AGAIN}"),)


def _left_behind(chips: set[int]) -> PassedOver:
    oldest = min(chips)
    return PassedOver(
        "cuda",
        f"CUDA {_PACKAGES} no longer compiles for the oldest card (compute capability {oldest // 10}.{oldest % 10}).",
        f"Install NVIDIA's CUDA toolkit 12 (not 13), {_AGAIN}",
    )


def _toolkits(chips: set[int], nvcc: Nvcc | None, driver: Version | None) -> tuple[Backend, ...]:
    """The toolkits that compile for all the chips and that the driver can run: the system's own comes first.

    A driver runs what any CUDA of its own main version made, also a newer one, as long as it is machine code
    ready for the chip (`-real`); and all that older ones made.
    """
    architectures = tuple(str(chip) for chip in sorted(chips))
    options = (
        "-DGGML_CUDA=ON",
        # A library for boxes with several cards, which is not here.
        "-DGGML_CUDA_NCCL=OFF",
        # Else the engine would be linked to the driver, and not start where that is gone.
        "-DGGML_CUDA_NO_VMM=ON",
        "-DCMAKE_CUDA_ARCHITECTURES=" + ";".join(f"{one}-real" for one in architectures),
        _LINK,
    )
    found = []
    if nvcc and nvcc.version >= _OLDEST_NVCC and chips <= nvcc.chips and (not driver or nvcc.version[0] <= driver[0]):
        label = "nvcc " + ".".join(map(str, nvcc.version))
        found.append(Backend("cuda", options, architectures, "system", label, nvcc.path))
    if min(chips) >= _PACKAGES_OLDEST_CHIP and (not driver or driver[0] >= _PACKAGES):
        found.append(Backend("cuda", options, architectures, "packages"))
    return tuple(found)


def _vulkan(kit: VulkanKit) -> Backend:
    return Backend("vulkan", ("-DGGML_VULKAN=ON", _LINK), (), "system", "headers " + _dotted(kit.headers or ()))


def _without_vulkan(kit: VulkanKit, *, to_run: bool = True) -> PassedOver | None:
    """Why the engine cannot be built for Vulkan here; None where it can."""
    needed = f"{_dotted(_OLDEST_HEADERS)} or newer, as in Debian 13 and Ubuntu 24.04"
    parts = {"glslc": kit.glslc, "libvulkan-dev": kit.library and kit.headers, "spirv-headers": kit.spirv}
    missing = [name for name, here in parts.items() if not here]
    if kit.headers and kit.headers < _OLDEST_HEADERS:
        return PassedOver(
            "vulkan",
            f"The system's Vulkan headers are too old: {_dotted(kit.headers)}, needed {needed}.",
            f"Bring the system up to Debian 13 or Ubuntu 24.04, {_AGAIN}",
        )
    if missing:
        return PassedOver(
            "vulkan",
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing (needed {needed}).",
            f"As root, run: apt-get install {_VULKAN_PACKAGES} mesa-vulkan-drivers; {_AGAIN}",
        )
    if to_run and not kit.drivers:
        return PassedOver(
            "vulkan",
            "There is no Vulkan driver for a graphics card.",
            f"As root, run: apt-get install mesa-vulkan-drivers (for NVIDIA: nvidia-vulkan-icd); {_AGAIN}",
        )
    return None


def version_of(text: str) -> Version:
    """The numbers of a version: (12, 4) for `12.4`; empty for anything else."""
    return tuple(map(int, text.split("."))) if re.fullmatch(r"\d+(\.\d+)*", text) else ()


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
