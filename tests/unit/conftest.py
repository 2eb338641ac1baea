"""How hypothesis works here: enough cases to matter, and no time limits on a busy machine. And a database to copy."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from appliance.store.schema import ensure

settings.register_profile("house", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a database in which nothing is yet."""
    file = tmp_path_factory.mktemp("empty") / "appliance.db"
    ensure(file)
    return file.read_bytes()
