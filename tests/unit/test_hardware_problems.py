"""The table of problems: each in one sentence with what to do, and each found by some test."""

from __future__ import annotations

import re

import pytest

from appliance.hardware.problems import REASONS
from tests.contract.tree import texts

THIS_FILE = "tests/unit/test_hardware_problems.py"


@pytest.mark.parametrize("code", REASONS)
def test_a_problem_says_in_one_sentence_what_is_wrong_and_what_to_do(code: str) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert re.fullmatch(r"[A-Z][^;]*[;,] .*[a-z{}]+\.", REASONS[code].replace('."', '"'))


@pytest.mark.parametrize("code", REASONS)
def test_a_problem_is_found_by_a_probe_and_by_a_test(code: str) -> None:
    found = {name for name, text in texts().items() if f'"{code}"' in text}
    assert any(name.startswith("appliance/hardware/") and not name.endswith("problems.py") for name in found)
    assert any(name.startswith("tests/") and name != THIS_FILE for name in found)
