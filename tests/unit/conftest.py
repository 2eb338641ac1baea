"""How hypothesis works here: enough cases to matter, and no time limits on a busy machine. And a database to copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlmodel import Session

from appliance.store.schema import ensure
from appliance.store.sessions import session

settings.register_profile("house", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database in which nothing is yet."""
    file = tmp_path_factory.mktemp("empty") / "appliance.db"
    ensure(file)
    return file.read_bytes()


@pytest.fixture(scope="module")
def file(empty_database: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database for a file of tests, each of which has people of its own."""
    file = tmp_path_factory.mktemp("people") / "appliance.db"
    file.write_bytes(empty_database)
    return file


@pytest.fixture
def opened(file: Path) -> Iterator[Session]:
    """A transaction on it."""
    with session(file, alone=True) as one:
        yield one
