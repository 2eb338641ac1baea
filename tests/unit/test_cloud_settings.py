"""The settings of the cloud: off, whole or refused by name, and never with a key in the message."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.config.paths import Home
from appliance.config.settings import Settings
from appliance.control.cloud import cloud_engines, cloud_terms, status
from appliance.control.service import service_of
from appliance.deployment import Deployment, Engine, merged, service_from_json
from appliance.errors import ApplianceError
from appliance.ledger.tables import Call
from appliance.store.sessions import session

PROVIDER = '[cloud.providers.far]\nkind = "anthropic"\nurl = "https://api.example.com/v1"\n'
MODEL = '[cloud.models."far-1.5"]\nprovider = "far"\nmodel = "claude-x"\n'
ON = '[cloud]\nenabled = true\nteams = ["dev"]\nlocal_only = ["team:hr"]\nmonthly_cap = "12.50"\n' + PROVIDER + MODEL
SECRET = "sk-ant-api03-secret"


def loaded(folder: Path, text: str) -> Settings:
    """The settings of a file with this text."""
    file = folder / "appliance.toml"
    file.write_text(text)
    return load(file)


def home(folder: Path) -> Home:
    return Home(folder / "appliance.toml", folder / "var")


def test_without_a_word_nothing_leaves_the_box(tmp_path: Path) -> None:
    for text in ("", PROVIDER + MODEL, ON.replace("enabled = true", "enabled = false")):
        settings = loaded(tmp_path, text)
        assert not settings.cloud.enabled
        assert cloud_terms(home(tmp_path), settings.cloud) is None
        assert cloud_engines(home(tmp_path), settings.cloud) == ()


def test_what_the_request_path_is_told(tmp_path: Path) -> None:
    settings = loaded(tmp_path, ON + '[engines.chat]\nurl = "http://127.0.0.1:9/v1"\nmodel = "near"\n')
    service = service_of(home(tmp_path), settings, None)
    assert service.cloud is not None
    assert (service.cloud.teams, service.cloud.local_only, service.cloud.monthly_cap) == (
        ("dev",),
        ("team:hr",),
        12_500_000,
    )
    assert service.cloud.switch == str(tmp_path / "var/cloud-off")
    near, far = service.deployment.engines
    assert (near.provider, far.provider, far.dialect, far.model) == ("", "far", "anthropic", "far-1.5")
    assert (far.upstream_model, far.max_output, far.context) == ("claude-x", 4096, 128_000)
    assert far.api_key_file == str(tmp_path / "var/secrets/far")
    assert service_from_json(service.to_json()) == service
    without = dataclasses.replace(service, cloud=None)
    assert service_from_json(without.to_json()) == without


def test_a_name_that_is_served_here_is_never_sent_away() -> None:
    far = Engine("cloud:qwen", "qwen", ("qwen",), "x", url="https://x/v1", provider="far")
    near = Engine("chat", "qwen", ("chat", "qwen"), "qwen", socket="/s")
    assert merged(Deployment("1", (near,)), (far,)).find("qwen") == near


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (ON.replace('monthly_cap = "12.50"\n', ""), 1, "`monthly_cap` must say"),
        (ON.replace("12.50", "12,50"), 1, "is not an amount"),
        (ON.replace("12.50", "-1"), 1, "is not an amount"),
        (ON.replace(MODEL, ""), 1, "without a model"),
        (ON.replace("https:", "http:"), 6, "must begin with https://"),
        (ON.replace("https:", "ftp:"), 8, "match pattern"),
        (ON.replace("url = ", "# url = "), 6, "needs its `url`"),
        (ON.replace('"far"', '"fat"'), 1, "no [cloud.providers.fat]"),
        (ON.replace('"far-1.5"', '"chat"'), 1, "none of chat, small"),
        (ON.replace('"far-1.5"', '"two words"'), 1, "one word"),
        (ON.replace("providers.far", "providers.FAR").replace('"far"', '"FAR"'), 1, "small letters"),
        (ON.replace('model = "claude-x"', ""), 1, "needs `model`"),
        (ON.replace("team:hr", "hr"), 1, "team:NAME"),
        (ON.replace(PROVIDER, PROVIDER + f'key_file = "{SECRET}"\n'), 9, "match pattern"),
        (ON.replace(PROVIDER, PROVIDER + f'key_file = "/{SECRET}"\ncredential = "x"\n'), 6, "either `key_file` or"),
        (ON.replace(PROVIDER, PROVIDER + f'credential = "/{SECRET}"\n'), 9, "match pattern"),
        (ON.replace("api.example.com", f"{SECRET}@api.example.com"), 8, "match pattern"),
        (ON.replace("[cloud]", f'[cloud]\nproxy = "http://me:{SECRET}@proxy"'), 2, "match pattern"),
        (ON.replace("[cloud]", f'[cloud]\nteams = "{SECRET}"').replace('teams = ["dev"]\n', ""), 2, "list"),
    ],
)
def test_a_mistake_is_told_by_name_and_without_what_may_be_a_key(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    with pytest.raises(ApplianceError) as caught:
        loaded(tmp_path, text)
    assert caught.value.code == "config-bad-value"
    assert words in caught.value.sentence
    assert f"line {line}:" in caught.value.sentence
    assert SECRET not in caught.value.sentence + caught.value.hint


@pytest.mark.parametrize(
    ("text", "name", "hint"),
    [
        (ON.replace(PROVIDER, PROVIDER + f'key = "{SECRET}"\n'), "cloud.providers.far.key", "key_file"),
        (ON.replace("teams", "team"), "cloud.team", "'teams'"),
        (ON + "max_token = 5\n", "cloud.models.far-1.5.max_token", "'max_tokens'"),
        ("[clod]\n", "clod", "'cloud'"),
    ],
)
def test_a_key_that_does_not_exist_is_told_with_the_nearest(tmp_path: Path, text: str, name: str, hint: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        loaded(tmp_path, text)
    assert caught.value.code == "config-unknown-key"
    assert f"'{name}'" in caught.value.sentence
    assert hint in caught.value.hint
    assert SECRET not in caught.value.sentence + caught.value.hint


@pytest.mark.parametrize("host", ["127.0.0.1:4000", "localhost:4000", "[::1]:4000"])
def test_a_proxy_on_this_machine_may_be_without_tls(tmp_path: Path, host: str) -> None:
    url = f"http://{host}/v1"
    settings = loaded(tmp_path, ON.replace("https://api.example.com/v1", url))
    assert cloud_engines(home(tmp_path), settings.cloud)[0].url == url


def call(number: int, provider: str, cost: int, started: datetime) -> Call:
    """A row of the ledger."""
    at = int(started.timestamp() * 1_000_000)
    return Call(
        request_id=f"r{number}", principal="a", key_id="k", model_asked="m", model="m", streamed=False,
        provider=provider, cost=cost, started_at=at,
    )  # fmt: skip


def test_the_status_tells_the_months_spend_and_the_keys_state_but_no_key(tmp_path: Path) -> None:
    here, settings = home(tmp_path), loaded(tmp_path, ON).cloud
    here.prepare()
    now = datetime(2026, 3, 15, 12, tzinfo=UTC)
    with session(here.database) as opened:
        opened.add(call(1, "far", 1_000_000, datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)))
        opened.add(call(2, "far", 250_000, datetime(2026, 3, 14, tzinfo=UTC)))
        opened.add(call(3, "far", 9_000_000, datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)))
        opened.add(call(4, "", 7_000_000, datetime(2026, 3, 2, tzinfo=UTC)))
        opened.add(call(5, "gone", 5, datetime(2026, 3, 2, tzinfo=UTC)))
        opened.flush()
        states = []
        for text, mode in ((None, 0), (SECRET, 0o600), (SECRET, 0o644), (f"{SECRET} and more", 0o600)):
            if text is not None:
                (here.secrets / "far").write_text(text)
                (here.secrets / "far").chmod(mode)
            found = status(here, settings, opened, now)
            states.append(found["providers"][0]["key"])
            assert SECRET not in repr(found)
    assert states[:2] == ["missing", "present"]
    assert "chmod 600" in states[2]
    assert "one word" in states[3]
    assert (found["month"], found["monthly_cap"], found["spent"]) == ("2026-03", 12_500_000, 1_250_005)
    assert found["providers"][0]["spent"] == 1_250_000
    assert (found["enabled"], found["switched_off"], found["sends"]) == (True, False, True)
    here.cloud_switch.touch()
    with session(here.database) as opened:
        found = status(here, settings, opened, now)
    assert (found["enabled"], found["switched_off"], found["sends"]) == (True, True, False)
