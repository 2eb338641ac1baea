"""The chat page's installation, its registration at sign-on, its processes, and who is counted."""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from appliance.accounts import clients
from appliance.accounts.api_keys import digest
from appliance.accounts.sign_on_tables import Client
from appliance.audit.acts import acting
from appliance.chat import changes, install, people, registration
from appliance.chat.process import processes
from appliance.config.load import parse
from appliance.config.paths import Home
from appliance.config.settings import ChatSettings
from appliance.errors import ApplianceError
from appliance.store.sessions import session
from appliance.units import now_us


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home of the test's own."""
    made = Home(tmp_path / "appliance.toml", tmp_path / "var")
    made.prepare()
    return made


def row(home: Home) -> tuple[str, str, str] | None:
    """What stands in the database of the page."""
    with session(home.database) as opened:
        found = opened.get(Client, clients.CHAT_PAGE)
        return None if found is None else (found.redirects, found.backchannel, found.digest)


def test_the_page_is_registered_as_the_settings_say_and_again_when_they_change(home: Home) -> None:
    before = registration.wanted("http://127.0.0.1:8090", 8090, "one")
    assert registration.register(home, before)
    assert not registration.register(home, before)
    assert registration.register(home, registration.wanted("https://ai.example.com", 8091, "two"))
    assert row(home) == (
        "https://ai.example.com/oauth/oidc/callback",
        "http://127.0.0.1:8091/oauth/backchannel-logout",
        digest("two"),
    )
    assert registration.withdraw(home)
    assert row(home) is None
    assert not registration.withdraw(home)


def test_another_program_by_its_name_is_not_taken_over(home: Home) -> None:
    with acting(home) as acts:
        clients.add(acts.session, "Chat", redirects=["https://other.example.com/callback"])
    with pytest.raises(ApplianceError) as refused:
        registration.register(home, registration.wanted("http://127.0.0.1:8090", 8090, "one"))
    assert refused.value.code == "wrong-use"
    assert row(home) is None


def test_what_is_not_installed_is_said_with_the_command_that_does(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError) as missing:
        install.find(tmp_path)
    assert missing.value.code == "chat-page-missing"
    assert "appliance chat-page install" in missing.value.hint


def test_without_a_python_that_it_runs_on_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ApplianceError) as impossible:
        install.install(tmp_path / "cache", lambda what, done, total: None)
    assert impossible.value.code == "chat-page-impossible"
    assert list((tmp_path / "cache").glob("openwebui-*")) == []


def test_an_installation_that_was_cut_off_is_not_taken_for_one(tmp_path: Path) -> None:
    folder = install._folder(tmp_path)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    with pytest.raises(ApplianceError):
        install.find(tmp_path)
    (folder / "ready").touch()
    assert install.find(tmp_path) == folder / "bin" / "python"
    assert install.install(tmp_path, lambda what, done, total: None) == folder / "bin" / "python"


def changelog(releases: int) -> str:
    """A list of changes, newest first."""
    parts = [
        f"## [0.{number}.0] - 2026-01-01\n\n### Added\n\n- **One.** More.\n\n" for number in range(releases, 0, -1)
    ]
    return "# Changelog\n\nAll of it.\n\n" + "".join(parts)


def test_the_page_finds_the_releases_that_it_shows_and_no_others_where_it_looks_first(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    changes.shorten(python)
    whole = packages / "open_webui" / "CHANGELOG.md"
    whole.parent.mkdir(parents=True)
    whole.write_text(changelog(9))
    changes.shorten(python)
    short = packages.parent / "CHANGELOG.md"
    assert short.read_text() == changelog(9).partition("## [0.4.0]")[0]
    assert short.read_text().count("\n## ") == changes.SHOWN
    assert whole.read_text() == changelog(9), "what Open WebUI brings stays as it is"
    assert changes.newest(changelog(3)) == changelog(3)


def test_a_security_update_of_python_leaves_the_page_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = install._folder(tmp_path)
    monkeypatch.setattr(sys, "version", "3.11.99 (main, another day) [another compiler]")
    assert install._folder(tmp_path) == before
    monkeypatch.setattr(sys, "version_info", (3, 99, 0))
    assert install._folder(tmp_path) != before


def test_the_locked_set_leaves_out_what_our_engines_do() -> None:
    names = {line.partition("==")[0] for line in install._lock().splitlines() if "==" in line and line[0].isalpha()}
    assert install.version() == "0.12.4"
    assert {"open-webui", "chromadb", "redis"} <= names
    assert not names & {"torch", "transformers", "sentence-transformers", "faster-whisper", "accelerate"}


def test_redis_goes_ahead_of_the_page_and_listens_on_no_port(home: Home) -> None:
    chat = ChatSettings(enabled=True)
    redis, page = processes(home, chat, Path("/x/bin/python"), "/usr/bin/redis-server")
    assert redis.argv[redis.argv.index("--port") + 1] == "0"
    assert redis.probe.socket == redis.argv[redis.argv.index("--unixsocket") + 1]
    assert page.environment == str(home.chat_environment)
    assert [one.name for one in processes(home, chat, Path("/x/bin/python"), None)] == ["chat-page"]


def test_those_are_counted_who_were_there_in_the_last_thirty_days(tmp_path: Path) -> None:
    assert people.active(tmp_path) == 0
    now = now_us() // 1_000_000
    rows = [("a", "admin", now), ("b", "user", now), ("c", "user", now - 29 * 86_400), ("d", "user", now - 31 * 86_400)]
    with closing(sqlite3.connect(tmp_path / "webui.db")) as made:
        assert people.active(tmp_path) == 0, "it is just being made"
        made.execute("CREATE TABLE user (id TEXT, role TEXT, last_active_at INTEGER)")
        made.executemany("INSERT INTO user VALUES (?, ?, ?)", rows)
        made.commit()
    assert people.active(tmp_path) == 2


def test_the_licence_is_spoken_of_from_the_fifty_first_person_on() -> None:
    assert people.licence(50) is None
    assert "51 people" in (people.licence(51) or "")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[chat]\nenabled = true\n", "needs sign-on"),
        ('[identity]\nenabled = true\n[chat]\nenabled = true\nurl = "http://ai.example.com"\n', "https://"),
        ('[identity]\nenabled = true\n[chat]\nenabled = true\nhost = "0.0.0.0"\n', "this machine only"),
    ],
)
def test_a_page_that_would_not_be_safe_stops_the_start(text: str, says: str) -> None:
    with pytest.raises(ApplianceError) as refused:
        parse(text, Path("appliance.toml"))
    assert refused.value.code == "config-bad-value"
    assert says in refused.value.sentence
    assert os.linesep not in refused.value.sentence


def test_with_sign_on_it_may_be_switched_on() -> None:
    text = "[identity]\nenabled = true\n[chat]\nenabled = true\nport = 9000\n"
    assert parse(text, Path("appliance.toml")).chat.origin == "http://127.0.0.1:9000"
