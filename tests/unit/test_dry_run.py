"""llama.cpp's own estimate of memory: how it is asked, read, and what is said when there is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.arguments import EnginePlan, memory_arguments
from appliance.engine.dry_run import DryRun, dry_run, read
from appliance.errors import ApplianceError
from appliance.units import MIB

PLAN = EnginePlan("chat", "m", "/models/m.gguf", "/chat.sock", context=4096, slots=2, threads=4)


def program(folder: Path, text: str) -> Path:
    """A program of this shell text."""
    file = folder / "fit"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def failure(binary: Path) -> str:
    """How a program's failure is told."""
    with pytest.raises(ApplianceError) as caught:
        dry_run(binary, PLAN)
    assert caught.value.code == "engine-failed"
    assert caught.value.sentence.startswith("llama-fit-params failed: ")
    return caught.value.sentence


def test_a_processors_line_is_read_in_bytes() -> None:
    assert read("Host 92 180 102\n") == (DryRun("Host", 92 * MIB, 180 * MIB, 102 * MIB),)


def test_each_memory_has_a_line_and_a_name_may_have_spaces() -> None:
    found = read("CUDA0 4437 1024 304\nCUDA1 4200 1000 304 \nNVIDIA GeForce RTX 4090 1 2 3\n\nHost 333 0 12\n")
    assert [one.memory for one in found] == ["CUDA0", "CUDA1", "NVIDIA GeForce RTX 4090", "Host"]
    assert [one.model // MIB for one in found] == [4437, 4200, 1, 333]
    assert [one.context // MIB for one in found] == [1024, 1000, 2, 0]
    assert [one.compute // MIB for one in found] == [304, 304, 3, 12]


@pytest.mark.parametrize(
    "said", ["", "\n\n", "Host", "1 2 3", "Host 1 2", "Host 1 2 x", "Host 1.5 2 3", "Host -1 2 3", "Host \u00b2 2 3"]
)
def test_what_is_no_line_of_the_table_is_passed_over(said: str) -> None:
    assert read(said) == ()
    assert [one.memory for one in read(f"{said}\nHost 1 2 3\n{said}")] == ["Host"]


@given(st.text())
def test_no_output_makes_reading_fail(said: str) -> None:
    assert all(one.memory for one in read(said))


def test_it_is_asked_with_the_engines_own_arguments(tmp_path: Path) -> None:
    binary = program(tmp_path, f'printf "%s\\n" "$@" > {tmp_path}/asked; echo "Host 1 2 3"; echo noise >&2')
    plan = replace(PLAN, kv="q8_0", repack=False)
    assert dry_run(binary, plan) == (DryRun("Host", MIB, 2 * MIB, 3 * MIB),)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked[:6] == ["--model", "/models/m.gguf", "--ctx-size", "8192", "--parallel", "2"]
    assert asked[6:-2] == list(memory_arguments(plan))
    assert asked[-2:] == ["--fit-print", "on"]


def test_a_program_that_fails_is_told_with_its_last_word(tmp_path: Path) -> None:
    binary = program(tmp_path, "echo 'Host 1 2 3'; echo first >&2; echo 'no such model' >&2; exit 1")
    assert failure(binary) == "llama-fit-params failed: no such model."


def test_a_program_that_says_nothing_of_use_has_failed(tmp_path: Path) -> None:
    assert failure(Path("/bin/false")) == "llama-fit-params failed: it says nothing."
    assert failure(Path("/bin/true")) == "llama-fit-params failed: it says nothing."
    assert len(failure(program(tmp_path, "printf '%5000s' x >&2; exit 1"))) < 400


def test_a_program_that_is_missing_or_is_none_is_told(tmp_path: Path) -> None:
    assert "No such file" in failure(tmp_path / "missing")
    assert "Permission denied" in failure(tmp_path)


def test_output_that_is_no_text_is_no_reason_to_break(tmp_path: Path) -> None:
    assert dry_run(program(tmp_path, r"printf '\377\376\nHost 1 2 3\n'; printf '\377' >&2"), PLAN)
