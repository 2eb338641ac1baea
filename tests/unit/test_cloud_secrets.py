"""Keys of providers: where they may lie, and that nothing shows them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.cloud import switch
from appliance.cloud.secrets import UnusableKeyError, checked_key, key_file, read_key, write_key

KEY = "sk-0123456789"


def kept(folder: Path, text: bytes = KEY.encode() + b"\n", mode: int = 0o600) -> Path:
    """A file with a key."""
    file = folder / "far"
    file.write_bytes(text)
    file.chmod(mode)
    return file


def test_a_key_is_written_for_us_alone_and_read_again(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        file = write_key(tmp_path, "far", KEY)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_key(file) == KEY
    assert read_key(tmp_path / "none") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601, 0o610])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UnusableKeyError, match="others can read"):
        read_key(kept(tmp_path, mode=mode))


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = kept(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UnusableKeyError, match="somebody else"):
        read_key(file)


def test_a_link_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(kept(tmp_path))
    os.mkfifo(pipe, 0o600)
    for odd in (link, pipe, tmp_path):
        with pytest.raises(UnusableKeyError):
            read_key(odd)


@pytest.mark.parametrize(
    "text", [b"", b" \n", b"two words", b"two\nlines", b"k\xc3\xa9y", b"nul\0", b"x" * 5000, b"a\r\nb"]
)
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(UnusableKeyError) as caught:
        read_key(kept(tmp_path, text))
    assert not text.strip() or text.decode("latin-1") not in str(caught.value)
    with pytest.raises(UnusableKeyError):
        checked_key(text)


def test_what_systemd_guards_needs_no_mode_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = kept(tmp_path, mode=0o440)
    with pytest.raises(UnusableKeyError):
        read_key(file)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_key(file) == KEY


def test_where_a_key_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = tmp_path / "secrets", tmp_path / "credentials"
    theirs.mkdir()
    assert key_file(ours, "far", "/etc/far.key", None) == Path("/etc/far.key")
    assert key_file(ours, "far", None, None) == ours / "far"
    assert read_key(key_file(ours, "far", None, "far-key")) is None, "without systemd there is no credential"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(theirs))
    assert key_file(ours, "far", None, "far-key") == theirs / "far-key"
    assert key_file(ours, "far", None, None) == ours / "far"
    (theirs / "far").touch()
    assert key_file(ours, "far", None, None) == theirs / "far"


def test_the_switch_is_a_file_and_what_cannot_be_looked_at_is_off(tmp_path: Path) -> None:
    file = tmp_path / "cloud-off"
    assert not switch.is_off(file)
    assert switch.turn_off(file)
    assert switch.is_off(str(file))
    assert not switch.turn_off(file)
    assert switch.turn_on(file)
    assert not switch.turn_on(file)
    assert not switch.is_off(file)
    assert switch.is_off(file / "below-a-file") is False
    file.touch()
    assert switch.is_off(file / "below-a-file"), "not a folder: nobody can say"
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    assert switch.is_off(dangling)
