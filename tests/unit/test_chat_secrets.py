"""The secrets of the chat page: made once, private, and never half of them."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import pytest

from appliance.accounts import chat_secrets
from appliance.config.paths import Home
from appliance.errors import ApplianceError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(config=tmp_path / "appliance.toml", state=tmp_path / "state")
    made.prepare()
    return made


def test_they_are_made_once_and_for_nobody_else(home: Home) -> None:
    assert chat_secrets.read(home) is None
    made = chat_secrets.ensure(home)
    assert chat_secrets.ensure(home) == chat_secrets.read(home) == made
    assert len(set(astuple(made))) == len(astuple(made))
    assert home.chat_secrets.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"client": "short"}', "\xff"])
def test_half_of_them_is_refused_and_left_alone(home: Home, text: str) -> None:
    home.chat_secrets.write_text(text, encoding="latin-1")
    with pytest.raises(ApplianceError) as refused:
        chat_secrets.ensure(home)
    assert refused.value.code == "chat-secrets-bad"
    assert home.chat_secrets.read_text(encoding="latin-1") == text


def test_a_short_secret_is_refused(home: Home) -> None:
    made = chat_secrets.ensure(home)
    home.chat_secrets.write_text(home.chat_secrets.read_text().replace(made.service_key, "guess"))
    with pytest.raises(ApplianceError, match="too short"):
        chat_secrets.read(home)
