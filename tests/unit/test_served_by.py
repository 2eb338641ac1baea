"""Which engines the gateway serves: those of the settings before those of the deployment."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.config.paths import Home
from appliance.config.settings import EngineSettings, Settings
from appliance.control.service import served_by
from appliance.deployment import Deployment, Engine
from appliance.engine.location import find
from appliance.errors import ApplianceError

OURS = Engine("chat", "smol", ("chat", "smol"), "smol", socket="/run/chat.sock")
REMOTE = Settings(engines={"chat": EngineSettings(url="http://127.0.0.1:1/v1", model="big")})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A prepared home."""
    made = Home(tmp_path / "appliance.toml", tmp_path / "var")
    made.prepare()
    return made


def test_without_a_deployment_there_is_no_engine(home: Home) -> None:
    with pytest.raises(ApplianceError) as caught:
        served_by(home, Settings())
    assert caught.value.code == "no-engine"


def test_what_the_control_plane_wrote_is_served(home: Home) -> None:
    home.deployment.write_text(Deployment("1", (OURS,)).to_json())
    assert served_by(home, Settings()) == Deployment("1", (OURS,))


def test_an_engine_behind_a_url_needs_no_deployment_and_replaces_its_role(home: Home) -> None:
    (alone,) = served_by(home, REMOTE).engines
    assert (alone.names, alone.url, alone.socket) == (("chat", "big"), "http://127.0.0.1:1/v1", None)
    home.deployment.write_text(Deployment("1", (OURS,)).to_json())
    assert served_by(home, REMOTE).engines == (alone,)


def test_a_program_of_the_engine_that_is_not_there_is_missing() -> None:
    with pytest.raises(ApplianceError) as caught:
        find("llama-nonsense")
    assert caught.value.code == "engine-missing"


def test_a_hand_over_that_nobody_can_read_says_how_to_write_it_anew(tmp_path: Path) -> None:
    home = Home(tmp_path / "appliance.toml", tmp_path)
    home.deployment.write_text('{"release": 1}')
    with pytest.raises(ApplianceError) as failed:
        served_by(home, Settings())
    assert failed.value.code == "deployment-unreadable"
