"""Files are written whole or not at all."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from appliance.store.files import write_atomic


def test_a_file_is_replaced_whole_with_its_rights(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_atomic(file, b"one", 0o600)
    write_atomic(file, b"two", 0o640)
    assert file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_who_had_the_old_file_open_goes_on_reading_it(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_atomic(file, b"one")
    with file.open("rb") as opened:
        write_atomic(file, b"two")
        assert opened.read() == b"one"


def test_when_the_last_step_fails_nothing_is_left_behind(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(file, b"one")
    assert list(tmp_path.iterdir()) == [file]


def test_when_the_disk_is_full_the_old_file_stays_and_nothing_else(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    file = tmp_path / "a.json"
    write_atomic(file, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomic(file, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "nowhere/a.json", b"one")
