"""Type checking takes longest when nothing is cached, so it begins while other tests run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.box import ROOT

TYPES: pytest.StashKey[subprocess.Popen[str]] = pytest.StashKey()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start mypy if a test will ask for it."""
    if session.config.option.collectonly or not any(
        "type_check" in getattr(item, "fixturenames", ()) for item in session.items
    ):
        return
    command = [sys.executable, "-m", "mypy", "--no-error-summary"]
    session.stash[TYPES] = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="session")
def type_check(request: pytest.FixtureRequest) -> str:
    """What mypy has to say; nothing when it is content."""
    child = request.session.stash[TYPES]
    said, _ = child.communicate()
    return said.strip() if child.returncode else ""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End mypy when nobody has waited for it, as after `-x`."""
    child = session.stash.get(TYPES, None)
    if child is not None and child.returncode is None:
        child.kill()
        child.communicate()
