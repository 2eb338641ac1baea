"""Every failure has its row in the table, is raised, and is provoked by a test."""

from __future__ import annotations

import ast
import re

import pytest

from appliance.errors import KINDS, Kind
from tests.contract.tree import dotted, modules, texts

# Codes that are passed on from elsewhere: file and expression.
PASSED_ON = {("appliance/cli/chat.py", "str(code)")}

# Codes that no test provokes yet. This list only ever shrinks.
UNTESTED: set[str] = set()

THIS_FILE = "tests/contract/test_errors.py"


def first_arguments() -> list[tuple[str, ast.expr]]:
    """The file and first argument of each `ApplianceError(...)`."""
    return [
        (name, node.args[0])
        for name, tree in modules("appliance").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func) == "ApplianceError" and node.args
    ]


def written(first: ast.expr) -> str | None:
    """A code that is written out."""
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def named_in(folder: str) -> str:
    """All text of a folder, but not of this file."""
    return "\n".join(text for name, text in texts().items() if name.startswith(folder) and name != THIS_FILE)


def test_every_code_that_is_raised_is_in_the_table() -> None:
    """A type checker cannot see it: the constructor would raise KeyError instead."""
    unknown = {(name, code) for name, first in first_arguments() if (code := written(first)) and code not in KINDS}
    assert unknown == set()


def test_a_code_is_written_out_where_it_is_raised() -> None:
    computed = {(name, ast.unparse(first)) for name, first in first_arguments() if written(first) is None}
    assert computed == PASSED_ON


def test_every_code_in_the_table_is_raised() -> None:
    raised = {written(first) for _, first in first_arguments()}
    installer = named_in("installer/")
    assert {code for code in KINDS if code not in raised and not stands_in(code, installer)} == set()


def test_every_code_is_provoked_by_a_test() -> None:
    tests = named_in("tests/")
    assert {code for code in KINDS if not re.search(rf"[\"'(`]{code}[\"')`]", tests)} == UNTESTED


def stands_in(code: str, text: str) -> bool:
    """Whether a text has a code as a word of its own."""
    return re.search(rf"(?<![\w-]){code}(?![\w-])", text) is not None


@pytest.mark.parametrize(("code", "kind"), KINDS.items(), ids=list(KINDS))
def test_a_row_of_the_table_is_whole(code: str, kind: Kind) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
    assert kind.exit in (1, 2, 3, 4, 5)
    assert kind.http == 0 or 400 <= kind.http <= 599
    assert bool(kind.type) == bool(kind.http)
    assert kind.meaning[0].isupper()
    assert not kind.meaning.endswith(".")
