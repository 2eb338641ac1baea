"""Which files of the models folder can go: the rule, on names alone."""

from __future__ import annotations

import pytest

from appliance.artifacts.clearing import unneeded

NEEDED, OTHER = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        (f"{NEEDED}.gguf", False),
        (f"{OTHER}.gguf", True),
        (f"{NEEDED}.partial", False),
        (f"{NEEDED}.journal", False),
        (f"{OTHER}.partial", True),
        (f"{OTHER}.journal", True),
        ("tiny-4.5b.partial", False),
        ("locks.json", False),
        ("locks.json.lock", False),
        (f"{NEEDED}.lock", True),
        (f".pull-{NEEDED}-x1", True),
        ("pulled.partial", False),
        ("pulled.gguf", False),
        (".pull-pulled-x1", False),
        ("notes.txt", False),
    ],
)
def test_a_file_goes_when_nothing_names_it_and_nobody_works_on_it(name: str, goes: bool) -> None:
    assert unneeded([name], {NEEDED, "tiny-4.5b"}, {"pulled"}) == ([name] if goes else [])


def test_what_is_left_of_a_pull_goes_once_the_file_is_there() -> None:
    names = [f"{NEEDED}.gguf", f"{NEEDED}.partial", f"{NEEDED}.journal"]
    assert unneeded(names, {NEEDED}, set()) == [f"{NEEDED}.journal", f"{NEEDED}.partial"]
