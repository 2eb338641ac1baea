"""What there is on a machine to compile for graphics cards with."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.engine.backends import VulkanKit
from appliance.engine.toolkits import find_nvcc, find_vulkan

HEADER = """#ifndef VULKAN_CORE_H_
// Version of this file
#define VK_HEADER_VERSION {patch}

// Complete version of this file
#define VK_HEADER_VERSION_COMPLETE VK_MAKE_API_VERSION(0, 1, {minor}, VK_HEADER_VERSION)
"""
NVCC = """#!/bin/sh
case "$*" in
  --version) printf 'nvcc: NVIDIA (R) Cuda compiler driver\\nCuda compilation tools, release 12.8, V12.8.93\\n' ;;
  --list-gpu-arch) printf 'compute_75\\ncompute_90\\ncompute_120\\n' ;;
esac
"""


def program(folder: Path, name: str, text: str) -> None:
    """Put a program into a folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(("minor", "patch"), [(3, 239), (4, 309)])
def test_vulkans_parts_are_found_where_cmake_is_told_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minor: int, patch: int
) -> None:
    monkeypatch.setenv("CMAKE_PREFIX_PATH", f"/nowhere:{tmp_path}")
    for name, text in {
        "include/vulkan/vulkan_core.h": HEADER.format(minor=minor, patch=patch),
        "share/cmake/SPIRV-Headers/SPIRV-HeadersConfig.cmake": "",
        "lib/x86_64-linux-gnu/libvulkan.so": "",
        "bin/glslc": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = find_vulkan()
    assert found == VulkanKit((1, minor, patch), glslc=True, spirv=True, library=True, drivers=found.drivers)


def test_a_header_that_says_no_version_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULKAN_SDK", str(tmp_path))
    (tmp_path / "include/vulkan").mkdir(parents=True)
    (tmp_path / "include/vulkan/vulkan_core.h").write_text("#error\n")
    assert find_vulkan().headers is None


def test_the_systems_cuda_compiler_says_its_version_and_its_chips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin", "nvcc", NVCC)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    found = find_nvcc()
    assert found is not None
    assert (found.path, found.version) == (str(tmp_path / "bin/nvcc"), (12, 8))
    assert found.chips == {75, 90, 120}


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho hello\n", "not a program"])
def test_a_compiler_that_does_not_answer_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    program(tmp_path / "bin", "nvcc", text)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert find_nvcc() is None
