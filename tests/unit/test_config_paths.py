"""Where things live, and whose they are."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.config.paths import Home, cache_folder, find_home
from appliance.errors import ApplianceError


def home_in(folder: Path) -> Home:
    """A home whose state is `folder/var`."""
    return Home(config=folder / "appliance.toml", state=folder / "var")


def test_a_socket_lies_in_the_run_folder() -> None:
    assert Home(Path("/c"), Path("/s")).socket("chat") == Path("/s/run/chat.sock")


def test_a_long_state_path_gives_a_short_socket_path_of_its_own() -> None:
    long, longer = Path("/" + "s" * 90), Path("/" + "s" * 200)
    assert Home(Path("/c"), long).socket("chat").is_relative_to(long)
    short = Home(Path("/c"), longer).socket("chat")
    assert len(os.fsencode(short)) <= 107
    assert short == Home(Path("/other"), longer).socket("chat")
    assert short != Home(Path("/c"), longer.with_name("t" * 200)).socket("chat")


def test_bytes_count_not_letters() -> None:
    state = Path("/" + "ü" * 60)
    assert not Home(Path("/c"), state).socket("chat").is_relative_to(state)


def test_state_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    home.prepare()
    home.prepare()
    for folder in (home.state, home.run, home.logs, home.secrets, home.models):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(home.run.iterdir()) == []


def test_many_may_prepare_at_once(tmp_path: Path) -> None:
    """Sign-on does so for each event on the audit log: two who tried the folder by one file took each other's away."""
    home = Home(tmp_path / "appliance.toml", tmp_path / "state")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: home.prepare(), range(2000)))
    assert list(home.run.iterdir()) == []


def test_a_file_in_the_folders_place_is_a_clear_refusal(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    home.state.write_text("")
    with pytest.raises(ApplianceError) as caught:
        home.prepare()
    assert caught.value.code == "state-read-only"
    assert str(home.state) in caught.value.sentence


def test_a_folder_that_cannot_be_written_is_a_clear_refusal() -> None:
    with pytest.raises(ApplianceError) as caught:
        Home(Path("/c"), Path("/proc/appliance")).prepare()
    assert caught.value.code == "state-read-only"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of the test's own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_sockets_of_a_long_path_get_a_folder_for_their_owner_only(tmp_path: Path, temporary: Path) -> None:
    home = home_in(tmp_path / ("s" * 100))
    home.prepare()
    folder = home.socket("chat").parent
    assert folder.parent == temporary
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_that_somebody_put_in_the_socket_folders_place_is_refused(tmp_path: Path, temporary: Path) -> None:
    home = home_in(tmp_path / ("s" * 100))
    (tmp_path / "theirs").mkdir()
    home.socket("chat").parent.symlink_to(tmp_path / "theirs")
    with pytest.raises(ApplianceError) as caught:
        home.prepare()
    assert "belongs to somebody else" in caught.value.sentence


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_somebody_else_made_is_refused(tmp_path: Path, temporary: Path) -> None:
    home = home_in(tmp_path / ("s" * 100))
    theirs = home.socket("chat").parent
    theirs.mkdir(mode=0o777)
    os.chown(theirs, 12345, 12345)
    with pytest.raises(ApplianceError) as caught:
        home.prepare()
    assert caught.value.code == "state-read-only"
    assert "belongs to somebody else" in caught.value.sentence


def test_an_option_wins_over_the_environment_and_that_over_convention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("APPLIANCE_CONFIG", str(tmp_path / "env.toml"))
    monkeypatch.setenv("APPLIANCE_STATE", "env")
    assert find_home(Path("a.toml"), None) == Home(tmp_path / "a.toml", tmp_path / "env")
    assert find_home(None, Path("/s")) == Home(tmp_path / "env.toml", Path("/s"))
    monkeypatch.delenv("APPLIANCE_CONFIG")
    monkeypatch.delenv("APPLIANCE_STATE")
    found = find_home(None, None)
    assert found.config.name == "appliance.toml"
    assert found.config.is_absolute()
    assert found.state.is_absolute()


def test_the_cache_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "appliance"
    # What the installed command says wins: it is where the installer put things.
    monkeypatch.setenv("APPLIANCE_CACHE", str(tmp_path / "installed"))
    assert cache_folder() == tmp_path / "installed"
    monkeypatch.delenv("APPLIANCE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/appliance"
