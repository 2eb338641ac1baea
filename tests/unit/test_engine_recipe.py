"""What decides which build of the engine a machine gets."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import pytest

from appliance.engine.backends import Backend
from appliance.engine.build import build
from appliance.engine.recipe import CMAKE_OPTIONS, PROGRAMS, Recipe, cmake_file, cuda_digest, recipe
from appliance.errors import ApplianceError
from appliance.hardware.facts import ENGINE_FLAGS, Hardware

RECIPE = Recipe("0.3.36", "llama-cpp-python==0.3.36 --hash=sha256:00", "cpu", frozenset({"avx", "avx2"}))


def machine(*flags: str) -> Hardware:
    """A machine with these instruction sets."""
    return Hardware("Test CPU", frozenset(flags), cores=2, memory=2**33)


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(RECIPE, flags=frozenset({"avx"})),
        dataclasses.replace(RECIPE, flags=frozenset({"avx", "avx2", "fma"})),
        dataclasses.replace(RECIPE, flags=frozenset()),
        dataclasses.replace(RECIPE, backend="cuda"),
        dataclasses.replace(RECIPE, extra=("-DGGML_CUDA=ON",)),
        dataclasses.replace(RECIPE, version="0.3.37"),
        dataclasses.replace(RECIPE, requirement="llama-cpp-python==0.3.36 --hash=sha256:01"),
    ],
)
def test_whatever_changes_the_bytes_changes_the_key(other: Recipe) -> None:
    assert other.key != RECIPE.key


def test_the_order_of_flags_does_not_matter_to_the_key() -> None:
    assert dataclasses.replace(RECIPE, flags=frozenset(["avx2", "avx"])).key == RECIPE.key


def test_the_key_is_a_plain_file_name_that_says_version_and_backend() -> None:
    assert RECIPE.key.startswith("llama_cpp_python-0.3.36-cpu-")
    assert "/" not in RECIPE.key


def test_a_build_for_the_processor_has_the_name_it_always_had() -> None:
    """Else every cache would be built anew."""
    decides = [RECIPE.requirement, cmake_file(), *CMAKE_OPTIONS, "avx", "avx2"]
    digest = hashlib.sha256(" ".join(decides).encode()).hexdigest()[:12]
    assert RECIPE.key == f"llama_cpp_python-0.3.36-cpu-{digest}"
    assert recipe(machine()).extra == ()


def test_chips_and_toolkit_change_the_key() -> None:
    cuda = Backend("cuda", ("-DCMAKE_CUDA_ARCHITECTURES=90-real",), ("90",), "packages")
    others = [
        dataclasses.replace(cuda, options=("-DCMAKE_CUDA_ARCHITECTURES=89-real",)),
        dataclasses.replace(cuda, toolkit="system", toolkit_version="nvcc 13.0"),
        dataclasses.replace(cuda, toolkit="system", toolkit_version="nvcc 13.1"),
    ]
    assert len({recipe(machine(), one).key for one in [cuda, *others]}) == 4
    assert f"packages {cuda_digest()}" in recipe(machine(), cuda).extra


def test_only_flags_that_the_engine_is_compiled_for_count() -> None:
    assert recipe(machine("avx2", "fma", "pni", "hypervisor")) == recipe(machine("fma", "avx2"))
    assert recipe(machine("avx2")).key != recipe(machine("avx2", "fma")).key
    assert recipe(machine(*ENGINE_FLAGS)).flags == ENGINE_FLAGS


def test_the_source_is_pinned_by_version_and_hash() -> None:
    made = recipe(machine())
    name, digest = made.requirement.split(" --hash=sha256:")
    assert name == f"llama-cpp-python=={made.version}"
    assert len(digest) == 64


def test_the_build_has_the_server_and_can_fetch_nothing() -> None:
    assert "llama-server" in PROGRAMS
    assert "-DLLAMA_CURL=OFF" in CMAKE_OPTIONS


@pytest.mark.skipif(not all(map(shutil.which, ("gcc", "g++", "strip"))), reason="needs a compiler to get that far")
def test_whatever_goes_wrong_in_a_build_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_TIMEOUT", "soon")
    with pytest.raises(ApplianceError) as caught:
        build(machine(), tmp_path, lambda what, done, total: None, lambda over, instead: None)
    assert caught.value.code == "engine-build-failed"
    assert "soon" in caught.value.sentence
    log = next((tmp_path / "engine").glob("*.log"))
    assert str(log) in caught.value.hint
