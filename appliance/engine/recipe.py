"""What decides the bytes of an engine build, and its name in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources

from appliance.engine.backends import CPU, Backend
from appliance.hardware.facts import ENGINE_FLAGS, Hardware

PROGRAMS = ("llama-server", "llama-bench", "llama-batched-bench", "llama-fit-params", "llama-quantize")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The pinned source, the backend, and the processor's instruction sets.

    `extra` is what a backend for graphics cards adds: its cmake options, and which toolkit compiles it.
    """

    version: str
    requirement: str
    backend: str
    flags: frozenset[str]
    extra: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name of the build in the cache."""
        decides = [self.requirement, cmake_file(), *CMAKE_OPTIONS, *sorted(self.flags), *self.extra]
        digest = hashlib.sha256(" ".join(decides).encode()).hexdigest()
        return f"llama_cpp_python-{self.version}-{self.backend}-{digest[:12]}"


def recipe(hardware: Hardware, backend: Backend = CPU) -> Recipe:
    """The build of a backend for a machine."""
    requirement = data("source.txt").strip()
    version = requirement.split()[0].partition("==")[2]
    toolkit = [f"packages {cuda_digest()}"] if backend.toolkit == "packages" else [backend.toolkit_version]
    extra = (*backend.options, *filter(None, toolkit))
    return Recipe(version, requirement, backend.name, hardware.cpu_flags & ENGINE_FLAGS, extra)


def cmake_file() -> str:
    """The text of our additions to llama.cpp's build."""
    return data("build.cmake")


def cuda_digest() -> str:
    """What names the folder with NVIDIA's packages: their pins."""
    return hashlib.sha256(data("cuda_tools.txt").encode()).hexdigest()[:12]


def data(name: str) -> str:
    """The text of a data file of this package."""
    return (resources.files("appliance.engine") / name).read_text()


CMAKE_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=ON",
    # Wheels cannot hold symlinks: one name for each library, and programs that look beside themselves.
    "-DCMAKE_PLATFORM_NO_VERSIONED_SONAME=ON",
    "-DCMAKE_INSTALL_RPATH=$ORIGIN",
    "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
    "-DGGML_NATIVE=ON",
    "-DLLAMA_BUILD_TOOLS=ON",
    "-DLLAMA_BUILD_SERVER=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_ALL_WARNINGS=OFF",
    # The engine never starts a program, whatever a request says,
    "-DLLAMA_SUBPROCESS=OFF",
    # and never fetches anything.
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_OPENSSL=OFF",
)
