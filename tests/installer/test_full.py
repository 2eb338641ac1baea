"""The whole installation, from an empty home to the first answer: cut off three times, ended, and run once more."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.chat.install import install
from appliance.config.paths import cache_folder
from tests.installer.machine import Machine
from tests.support.box import free_port


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own; whatever was started on it is ended."""
    made = Machine(tmp_path)
    made.environment.pop("PYTHONDONTWRITEBYTECODE", None)
    yield made
    command = made.prefix / "bin/appliance"
    if command.exists():
        subprocess.run([command, "down"], env=made.environment, check=True)


def cut_off(machine: Machine, step: str, after_s: float, by: signal.Signals, *arguments: str) -> tuple[int, str]:
    """Install, and send a signal some seconds after a step began; returns the exit status and what was said."""
    with subprocess.Popen(
        # A runner in the background of a script ignores Ctrl-C, and so would its children.
        ["env", "--default-signal=INT", *machine.command(*arguments)],
        env=machine.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        said = ""
        for line in child.stdout:
            said += line
            if step in line:
                time.sleep(after_s)
                os.kill(child.pid, by)
                break
        if by is not signal.SIGKILL:
            said += child.stdout.read()
        return child.wait(), said


def to_compile(said: str) -> int:
    """How many steps of compilation a run of the installer had before it."""
    return int(re.findall(r"Compiling the engine: \d+ of (\d+)", said)[-1])


def hand_engine_to(machine: Machine) -> None:
    """Leave on the machine what a compilation to its end leaves: the suite has made the same engine already."""
    for folder in (cache_folder() / "engine").glob("llama_cpp_python-*-cpu-*"):
        if folder.is_dir():
            shutil.copytree(folder, machine.home / ".cache/appliance/engine" / folder.name)


def hand_page_to(machine: Machine) -> None:
    """The same for the chat page."""
    folder = install(cache_folder(), lambda what, done, total: None).parents[1]
    (machine.home / ".cache/appliance" / folder.name).symlink_to(folder)


def contents(machine: Machine) -> dict[str, tuple[int, int, int]]:
    """Every file of the releases and settings, by what would change if it were written."""
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_size, path.lstat().st_mtime_ns)
        for folder in ("releases", "etc", "bin")
        for path in (machine.prefix / folder).rglob("*")
    }


@pytest.mark.full
@pytest.mark.timeout(2400)
def test_an_installation_survives_being_cut_off_and_is_left_alone_afterwards(machine: Machine) -> None:
    options = ("--yes", "--port", str(free_port()))
    status, said = cut_off(machine, "Python packages", 1.0, signal.SIGKILL, *options)
    assert status == -signal.SIGKILL, said
    status, said = cut_off(machine, "Compiling the engine", 20.0, signal.SIGINT, *options)
    assert status == 130, said
    assert "Run the same command again" in said
    status, again = cut_off(machine, "Compiling the engine", 1.0, signal.SIGTERM, *options)
    assert status == 130, again
    assert to_compile(again) < to_compile(said)

    hand_engine_to(machine)
    hand_page_to(machine)
    done = machine.install(*options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tok/s" in done.stdout
    # What a person reads at the end: where the chat is, and how to become the owner.
    (page,) = re.findall(r"^  The chat page, in a browser on this machine:  (http://\S+)$", done.stdout, re.M)
    with urllib.request.urlopen(f"{page}/health", timeout=60) as answer:
        assert answer.status == 200
    assert re.search(r"^http://127\.0\.0\.1:\d+/welcome/\S+$", done.stdout, re.M)
    assert len(list((machine.prefix / "log").glob("install-*.log"))) == 4
    assert (machine.prefix / "var").stat().st_mode & 0o777 == 0o700

    before = contents(machine)
    done = machine.install("--yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Compiling" not in done.stdout
    assert contents(machine) == before

    command = machine.prefix / "bin/appliance"
    # Whoever calls it may have another home, where there is no chat page.
    elsewhere = machine.environment | {"HOME": str(machine.folder / "tmp")}
    shown = subprocess.run([command, "status", "--json"], env=elsewhere, capture_output=True, check=True)
    assert json.loads(shown.stdout)["healthy"]
    subprocess.run([command, "up", "--no-prove"], env=elsewhere, check=True)
