"""The manual says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import PAGES, REFERENCE, main
from tests.contract.tree import texts
from tests.support.box import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_page_is_what_the_generator_writes(page: str) -> None:
    assert (REFERENCE / page).read_text() == PAGES[page](), "run: python -m docs.generate"


def test_there_are_no_pages_that_nothing_generates() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(PAGES)


@pytest.mark.slow
def test_the_check_finds_a_page_that_was_changed_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs.generate.REFERENCE", tmp_path / "reference")
    assert main(check=True) == 1
    assert main(check=False) == 0
    assert main(check=True) == 0
    (tmp_path / "reference/api.md").write_text("# Mine\n")
    assert main(check=True) == 1


def test_every_page_that_the_product_names_is_there() -> None:
    named = {
        (name, page)
        for name, text in texts().items()
        if name.startswith(("appliance/", "installer/"))
        for page in re.findall(r"\bdocs/[\w/.-]*\w", text)
    }
    assert {(name, page) for name, page in named if not list(ROOT.glob(f"{page}*"))} == set()
