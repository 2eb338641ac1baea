"""The shape of the code: small modules, small functions, and one home for each thing that touches the outside."""

from __future__ import annotations

import ast

import pytest

from tests.contract.tree import dotted, modules, texts

LONGEST_MODULE = 400
LONGEST_FUNCTION = 50

# Longer than they should be, in lines as they are now. These lists only ever shrink: a line that is no longer
# needed fails, and so does one that has become longer.
LONG_MODULES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}

# What touches the outside, and the only modules of the package that may.
HOMES = {
    "print": set[str](),
    "sys.stdout": {"cli/output.py"},
    "sys.stderr": {"cli/output.py", "audit/log.py", "downloads/packages.py"},
    "sys.exit": {"cli/output.py", "supervise/__main__.py"},
    "os._exit": {"supervise/process.py"},
    "os.environ": {"config/paths.py"},
    "os.getenv": set[str](),
    "sqlite3.connect": {"store/schema.py"},
}


def function_lengths() -> dict[str, int]:
    """The length of every function, by file and name."""
    return {
        f"{name}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_a_module_fits_into_one_head() -> None:
    lengths = {name: len(texts()[name].splitlines()) for name in modules()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == LONG_MODULES


def test_a_function_fits_onto_one_page() -> None:
    long = {name: length for name, length in function_lengths().items() if length > LONGEST_FUNCTION}
    assert long == LONG_FUNCTIONS


@pytest.mark.parametrize("thing", HOMES)
def test_what_touches_the_outside_has_its_home(thing: str) -> None:
    used = {
        name.removeprefix("appliance/")
        for name, tree in modules("appliance").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute | ast.Name) and dotted(node) == thing
    }
    assert used == HOMES[thing]


def test_nothing_gets_around_the_homes_by_importing_names() -> None:
    owners = {thing.rpartition(".")[0] for thing in HOMES} - {""}
    found = [
        f"{name}: from {node.module} import {alias.name}"
        for name, tree in modules("appliance").items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in owners
        for alias in node.names
        if f"{node.module}.{alias.name}" in HOMES
    ]
    assert found == []


def test_an_init_file_is_a_docstring_and_nothing_else() -> None:
    inits = {name: tree for name, tree in modules().items() if name.endswith("__init__.py")}
    assert len(inits) > 15
    for name, tree in inits.items():
        assert ast.get_docstring(tree), name
        assert len(tree.body) == 1, name


def test_every_module_says_what_it_is_for() -> None:
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_every_module_treats_annotations_as_text() -> None:
    """Else a type that is only there for the checker costs an import."""
    lacking = [
        name
        for name, tree in modules().items()
        if len(tree.body) > 2 and "from __future__ import annotations" not in texts()[name]
    ]
    assert lacking == []
