"""Locks between processes: real ones, ended the hard way too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.store.locks import Lock, holder
from tests.support.box import environment

_HOLD = """
import sys, pathlib
from appliance.store.locks import Lock
print(Lock(pathlib.Path(sys.argv[1])).acquire(), flush=True)
sys.stdin.read()
"""


@contextmanager
def another(file: Path) -> Iterator[tuple[subprocess.Popen[str], bool]]:
    """Another process that tries to take the lock, and whether it got it."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as child:
        assert child.stdout is not None
        yield child, child.stdout.readline().strip() == "True"
        child.kill()


def test_a_second_process_is_refused_and_learns_who_holds_it(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    with another(file) as (child, got):
        assert got
        assert not Lock(file).acquire()
        assert holder(file) == child.pid


def test_our_own_lock_refuses_others_until_it_is_given_back(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    lock = Lock(file)
    assert lock.acquire()
    with another(file) as (_, got):
        assert not got
    lock.release()
    lock.release()
    with another(file) as (_, got):
        assert got


def test_a_killed_process_leaves_no_lock_behind(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    with another(file) as (child, _):
        child.kill()
        child.wait()
        assert file.exists()
        assert holder(file) is None
        assert Lock(file).acquire()


def test_nobody_holds_a_lock_that_was_never_taken(tmp_path: Path) -> None:
    assert holder(tmp_path / "a.lock") is None
    assert not (tmp_path / "a.lock").exists()


def test_a_lock_is_not_passed_on_to_children(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    lock = Lock(file)
    assert lock.acquire()
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE):
        lock.release()
        with another(file) as (_, got):
            assert got
    assert os.access(file, os.R_OK)


def test_a_fleeting_lock_leaves_no_file_behind_and_excludes_all_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    lock = Lock(file, fleeting=True)
    assert lock.acquire()
    with another(file) as (_, got):
        assert not got
    lock.release()
    assert not file.exists()
    assert lock.acquire()
    lock.release()


def test_a_lock_on_a_file_that_its_holder_removed_is_not_taken_for_the_lock(tmp_path: Path) -> None:
    file = tmp_path / "a.lock"
    with another(file) as (child, got):
        assert got
        file.unlink()
        lock = Lock(file, fleeting=True)
        assert lock.acquire()
        assert file.exists()
        lock.release()
        assert child.poll() is None
