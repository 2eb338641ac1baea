"""Builds for graphics cards that fail for real reasons: what is told, what is tried next, and what is remembered."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.paths import cache_folder
from appliance.engine.backends import CPU
from appliance.engine.compile import tools_name
from appliance.engine.recipe import Recipe, recipe
from appliance.hardware.probe import probe
from tests.support.box import environment, wait_until
from tests.support.nvml import Nvml, StubGpu

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(not all(map(shutil.which, ("gcc", "g++", "strip"))), reason="needs a compiler"),
]

CARD = StubGpu("NVIDIA GeForce GTX 1080", 8 * 2**30, 8 * 2**30, capability="6.1")

# It knows the card, and fails in earnest.
NVCC = """#!/bin/sh
case "$*" in
  --version) echo "Cuda compilation tools, release 12.4, V12.4.99" ;;
  --list-gpu-arch) printf 'compute_60\\ncompute_61\\n' ;;
  *) {does} ;;
esac
"""
SOURCE = """cmake_minimum_required(VERSION 3.18)
project(llama.cpp LANGUAGES C CXX)
if(GGML_CUDA)
  enable_language(CUDA)
endif()
"""


@dataclass
class Bench:
    """A machine with an NVIDIA card, a CUDA compiler of the test's own, and the processor's build in its cache."""

    folder: Path
    nvml: Nvml
    card: StubGpu = CARD
    cuda: int = 12040
    more: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def engine(self) -> Path:
        """The engine's folder in the cache."""
        return self.folder / "cache/appliance/engine"

    @property
    def cpu(self) -> Recipe:
        """The processor's build, which is there."""
        return recipe(probe(), CPU)

    def set_up(self, does: str) -> None:
        """Tools and a small source, so that nothing is fetched; `does` is what the CUDA compiler does."""
        (self.folder / "bin").mkdir()
        nvcc = self.folder / "bin/nvcc"
        nvcc.write_text(NVCC.replace("{does}", does))
        nvcc.chmod(0o755)
        built = self.engine / self.cpu.key
        built.mkdir(parents=True)
        with zipfile.ZipFile(built / "llama_cpp_python-0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("llama_cpp/__init__.py", "")
        # The build tools of this user, where they are there: else they are fetched as always.
        tools = cache_folder() / "engine" / tools_name()
        if tools.exists():
            (self.engine / tools_name()).symlink_to(tools)

    def put_source(self) -> None:
        """The small source, where the CUDA build looks for it."""
        key = self.expected()
        folder = self.engine / f"{key}.work/source/vendor/llama.cpp"
        folder.mkdir(parents=True)
        (folder / "CMakeLists.txt").write_text(SOURCE)

    def expected(self) -> str:
        """The name of the build that this machine would get."""
        command = [sys.executable, "-c", _EXPECTED]
        return subprocess.run(
            command, env=self.environment(), capture_output=True, check=True, text=True
        ).stdout.strip()

    def environment(self) -> dict[str, str]:
        """The environment in which this machine is met."""
        card = self.nvml.environment(self.folder / "gpus", self.card, cuda=self.cuda)
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return environment() | card | {"PATH": path, "XDG_CACHE_HOME": str(self.folder / "cache")} | self.more

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Begin `appliance engine build --json`, with what it starts in a group of its own."""
        command = [sys.executable, "-m", "appliance", "engine", "build", "--json", *options]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        child = subprocess.Popen(command, env=self.environment(), start_new_session=True, **pipes)
        self.started.append(child)
        return child

    def build(self, *options: str) -> tuple[dict[str, Any], str]:
        """What `appliance engine build --json` prints, and what it says beside that."""
        printed, said = self.start(*options).communicate(timeout=120)
        return json.loads(printed), said


_EXPECTED = """
from appliance.config.paths import cache_folder
from appliance.engine.build import expected
from appliance.hardware.probe import probe
print(expected(probe(), cache_folder()).key)
"""


@pytest.fixture
def bench(tmp_path: Path, nvml: Nvml) -> Iterator[Bench]:
    """A machine of the test's own; what it started is ended."""
    made = Bench(tmp_path, nvml)
    yield made
    for child in made.started:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()


def test_a_cuda_build_that_fails_falls_to_the_processor_with_loud_reasons(bench: Bench) -> None:
    bench.set_up("exit 1")
    bench.put_source()
    found, said = bench.build()
    assert found["backend"] == "cpu"
    assert Path(found["wheel"]).parent.name == bench.cpu.key
    cuda, vulkan = found["passed_over"]
    assert (cuda["backend"], vulkan["backend"]) == ("cuda", "vulkan")
    assert cuda["reason"].startswith("cmake failed: Couldn't find CUDA library root.")
    assert "appliance engine build --retry" in cuda["next"]
    assert "WARNING: the engine is not built for CUDA, but for the processor at best: cmake failed" in said
    assert f"  Next: {vulkan['next']}" in said
    log = next(bench.engine.glob("*-cuda-*.log"))
    assert str(log) in cuda["next"]
    assert list(bench.engine.glob("*.work")) == [], "the room is given back"


def test_a_failed_build_is_not_tried_again_unless_asked_or_something_changed(bench: Bench) -> None:
    bench.set_up(f"echo tried >>{bench.folder}/tries; exit 1")
    tries = bench.folder / "tries"
    bench.put_source()
    first, _ = bench.build()
    tries.unlink()
    again, said = bench.build()
    assert again == first
    assert "WARNING: the engine is not built for CUDA" in said, "told each time"
    assert not tries.exists()
    assert bench.expected() == bench.cpu.key, "so an installation with it is complete"
    (bench.engine / "failed.json").rename(bench.engine / "kept.json")
    bench.put_source()
    (bench.engine / "kept.json").rename(bench.engine / "failed.json")
    assert bench.build("--retry")[0]["passed_over"] == first["passed_over"]
    assert tries.exists()
    nvcc = bench.folder / "bin/nvcc"
    nvcc.write_text(nvcc.read_text().replace("12.4", "12.5"))
    assert bench.expected() != bench.cpu.key, "a newer compiler may do better"


def test_a_registry_that_does_not_answer_costs_the_card_only_this_once(bench: Bench) -> None:
    bench.card, bench.cuda = replace(CARD, capability="8.9"), 13000
    bench.set_up("exit 1")
    bench.put_source()
    nobody = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    bench.more = nobody | {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": ""}
    wanted = bench.expected()
    found, said = bench.build()
    assert found["backend"] == "cpu"
    assert "NVIDIA's compiler packages could not be fetched: the registry does not answer" in said
    assert "Check the network" in found["passed_over"][0]["next"]
    assert bench.expected() == wanted, "the next installation tries again"


def test_a_build_that_was_demanded_has_no_substitute(bench: Bench) -> None:
    bench.set_up("exit 1")
    bench.put_source()
    found, said = bench.build("--backend", "cuda")
    assert found["error"]["code"] == "engine-build-failed"
    assert "WARNING" not in said
    assert bench.build("--backend", "cuda", "--capability", "5.0")[0]["error"]["code"] == "backend-impossible"
    assert bench.build("--backend", "cpu")[0]["backend"] == "cpu"


@pytest.mark.parametrize("whom", ["everybody", "only what compiles"])
def test_an_interrupted_build_does_not_fall_to_the_next(bench: Bench, whom: str) -> None:
    began = bench.folder / "began"
    bench.set_up(f"echo $PPID >{began}.new; mv {began}.new {began}; sleep 60")
    bench.put_source()
    child = bench.start()
    wait_until(began.exists, 60, "the compiler")
    if whom == "everybody":
        os.killpg(child.pid, signal.SIGINT)
    else:
        cmake = next(int(pid.name) for pid in Path("/proc").glob("[0-9]*") if _is_cmake_of(pid, child.pid))
        os.kill(cmake, signal.SIGTERM)
    printed, said = child.communicate(timeout=30)
    assert (child.returncode, printed) == (130, "")
    assert "WARNING" not in said
    assert not (bench.engine / "failed.json").exists()
    assert list(bench.engine.glob("*-cuda-*.work/source")) != [], "it goes on where it was"


def _is_cmake_of(process: Path, parent: int) -> bool:
    """Whether a process is the build's cmake."""
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1]) == parent
    except OSError:
        return False
