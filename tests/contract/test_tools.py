"""The tools that read the code for us have nothing to say."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.contract.tree import shell_scripts
from tests.support.box import ROOT

SCRIPTS = Path(sysconfig.get_path("scripts"))


def passes(*command: str) -> None:
    """Run a tool over the checkout and insist that it is content."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("check", [["check", "--quiet"], ["format", "--check", "--quiet"]], ids=["lint", "format"])
def test_ruff_is_content(check: list[str]) -> None:
    passes(sys.executable, "-m", "ruff", *check, ".")


def test_imports_keep_to_the_layers() -> None:
    passes(str(SCRIPTS / "lint-imports"))


def test_shellcheck_is_content() -> None:
    scripts = shell_scripts()
    assert {"tests/run", "requirements/lock"} <= set(scripts)
    passes(str(SCRIPTS / "shellcheck"), "--external-sources", *scripts)


@pytest.mark.timeout(900)  # with nothing cached, on a slow day
def test_mypy_is_content() -> None:
    passes(sys.executable, "-m", "mypy", "--no-error-summary")
