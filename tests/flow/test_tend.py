"""A process of a list as a service: it becomes the process, and its watcher speaks for it with systemd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from appliance.supervise.held import held
from appliance.supervise.spec import ProcessSpec, specs_to_json
from appliance.supervise.tries import read_tries
from appliance.supervise.where import LIST
from tests.support.box import environment, wait_until
from tests.support.supervised import Supervised

pytestmark = pytest.mark.slow


class Service:
    """One process of a list, started as systemd does; `words` are what it has said so far."""

    def __init__(self, folder: Path, spec: ProcessSpec) -> None:
        self.run = folder
        (folder / LIST).write_text(specs_to_json((spec,)))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(folder / "notify"))
        self._socket.setblocking(False)
        self.words: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "appliance.supervise.tend", str(folder), spec.name],
            env={**environment(), "NOTIFY_SOCKET": str(folder / "notify")}, start_new_session=True,
        )  # fmt: skip

    def heard(self, words: str) -> bool:
        """Whether it has said something since the last time that was asked."""
        while True:
            try:
                self.words.append(self._socket.recv(256).decode())
            except BlockingIOError:
                break
        found = words in self.words
        self.words.clear()
        return found

    def close(self) -> None:
        """End it; systemd would end the watcher with it."""
        self.process.kill()
        self.process.wait()
        self._socket.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    listed = Supervised(tmp_path)
    made = Service(tmp_path, listed.add("tiny"))
    try:
        yield made
    finally:
        made.close()


def test_it_becomes_the_process_and_its_watcher_says_when_it_is_ready(service: Service) -> None:
    wait_until(lambda: service.heard("READY=1"), 20, "the word that it is ready")
    (watcher,) = psutil.Process(service.process.pid).children()
    assert "tiny_server.py" in " ".join(psutil.Process(service.process.pid).cmdline())
    # The watcher is told systemd's address, and the process is not.
    assert "NOTIFY_SOCKET" not in psutil.Process(service.process.pid).environ()
    # Who stops the process's group does not stop the watcher.
    assert os.getsid(watcher.pid) == watcher.pid
    assert read_tries(service.run, "tiny") == 1
    service.close()
    wait_until(lambda: not watcher.is_running(), 5, "the watcher's end")


def test_one_that_hangs_gives_no_sign_of_life_unless_it_is_held_on_purpose(service: Service) -> None:
    wait_until(lambda: service.heard("WATCHDOG=1"), 20, "a sign of life")
    os.killpg(service.process.pid, signal.SIGSTOP)
    # What was asked before that may still be answered.
    time.sleep(0.5)
    service.heard("")
    # Longer than it takes between two signs, with the time that an answer may take.
    silent_until = time.monotonic() + 8
    while time.monotonic() < silent_until:
        assert not service.heard("WATCHDOG=1")
        time.sleep(0.1)
    with held(service.run, "tiny"):
        wait_until(lambda: service.heard("WATCHDOG=1"), 10, "a sign of life while it is held")
    os.killpg(service.process.pid, signal.SIGCONT)
