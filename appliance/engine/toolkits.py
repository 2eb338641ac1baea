"""The toolkits that compile for graphics cards: what the system has, and NVIDIA's pinned packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from appliance.config.paths import toolkit_folders
from appliance.engine.backends import Nvcc, Version, VulkanKit, version_of
from appliance.engine.recipe import cuda_digest, data
from appliance.errors import ApplianceError

_ASK_S = 20
_SYSTEM = (Path("/usr/local"), Path("/usr"))
_DRIVER_LISTS = (Path("/etc/vulkan/icd.d"), Path("/usr/local/share/vulkan/icd.d"), Path("/usr/share/vulkan/icd.d"))
# Packages cannot hold the links by which a linker finds a library.
_LINKED = ("libcudart", "libcublas", "libcublasLt", "libnvrtc")


def find_nvcc() -> Nvcc | None:
    """The system's CUDA compiler, on the path or where NVIDIA's installer puts it; None where there is none."""
    found = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if found is None:
        return None
    version = re.search(r"release (\d+\.\d+)", _ask(found, "--version"))
    chips = frozenset(
        int(chip) for chip in re.findall(r"^compute_(\d+)$", _ask(found, "--list-gpu-arch"), re.MULTILINE)
    )
    return Nvcc(found, version_of(version[1]), chips) if version and chips else None


def _ask(*command: str) -> str:
    """What a program prints; nothing where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def find_vulkan() -> VulkanKit:
    """What there is to build for Vulkan with, in the folders where cmake looks for it."""
    folders = (*toolkit_folders(), *_SYSTEM)
    header = _first(folders, "include/vulkan/vulkan_core.h")
    drivers = (file.name for folder in _DRIVER_LISTS for file in folder.glob("*.json"))
    return VulkanKit(
        headers=_header_version(header.read_text(errors="replace")) if header else None,
        glslc=bool(_first(folders, "bin/glslc") or shutil.which("glslc")),
        spirv=_first(folders, "share/cmake/SPIRV-Headers/SPIRV-HeadersConfig.cmake") is not None,
        library=_first(folders, "lib/libvulkan.so", "lib64/libvulkan.so", "lib/*/libvulkan.so") is not None,
        # lvp is llvmpipe, which draws on the processor.
        drivers=any(not name.startswith("lvp") for name in drivers),
    )


def _first(folders: Iterable[Path], *patterns: str) -> Path | None:
    return next((file for folder in folders for pattern in patterns for file in folder.glob(pattern)), None)


def _header_version(text: str) -> Version | None:
    """The version of Vulkan's headers: (1, 3, 239), from `vulkan_core.h`."""
    patch = re.search(r"^#define VK_HEADER_VERSION (\d+)", text, re.MULTILINE)
    main = re.search(r"^#define VK_HEADER_VERSION_COMPLETE \w+\(0, (\d+), (\d+),", text, re.MULTILINE)
    return (int(main[1]), int(main[2]), int(patch[1])) if main and patch else None


def cuda_folder(cache: Path) -> Path:
    """Where NVIDIA's packages are, or would be."""
    return cache / f"cuda-tools-{cuda_digest()}"


def fetch_cuda(cache: Path, log: Path) -> Path:
    """NVIDIA's compiler and libraries from their pinned packages; returns the toolkit's folder.

    Raises registry-unreachable, wrong-hash, disk-too-small or download-failed.
    """
    home = cuda_folder(cache)
    if not home.exists():
        partial = home.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        pins = partial / "pins.txt"
        pins.write_text(data("cuda_tools.txt"))
        pip = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
        # What pip would keep of it is as large as what it installs.
        strict = ["--no-cache-dir", "--require-hashes", "--only-binary", ":all:", "--target", str(partial)]
        done = subprocess.run(
            [*pip, *strict, "-r", str(pins)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        with log.open("a") as file:
            file.write(done.stdout)
        if done.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise _unfetched(done.stdout, log)
        _link(toolkit_in(partial))
        partial.rename(home)
    return toolkit_in(home)


def toolkit_in(home: Path) -> Path:
    """The toolkit in the folder of NVIDIA's packages: its own is called after the main version."""
    return next((home / "nvidia").glob("cu[0-9]*"))


def _link(toolkit: Path) -> None:
    """Make the links that a linker and cmake look for."""
    for name in _LINKED:
        library = next((toolkit / "lib").glob(f"{name}.so.*"))
        library.with_name(f"{name}.so").symlink_to(library.name)
    (toolkit / "lib64").symlink_to("lib")


def _unfetched(said: str, log: Path) -> ApplianceError:
    """Why pip did not fetch the toolkit."""
    what = "NVIDIA's compiler packages"
    if "DO NOT MATCH" in said:
        return ApplianceError(
            "wrong-hash", f"One of {what} is not the file that was pinned.",
            f"Do not use this registry or mirror until it is explained. The log names it: {log}",
        )  # fmt: skip
    if "No space left" in said:
        return ApplianceError(
            "disk-too-small", f"There is no room to download {what}.", "Free some room and run it again."
        )
    if "No matching distribution" in said or "Max retries exceeded" in said or "onnection" in said:
        return ApplianceError(
            "registry-unreachable", f"{what} could not be fetched: the registry does not answer, or has none.",
            "Check the network, the proxy and pip's index setting, then run it again.",
        )  # fmt: skip
    last = [line for line in said.splitlines() if "ERROR" in line][-1:] or ["no reason given"]
    return ApplianceError("download-failed", f"{what} could not be fetched: {last[0][-300:]}.", "Run it again.")
