"""A run folder of a test's own, with the real supervisor on tiny servers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from appliance.supervise.spec import Probe, ProcessSpec, ProcessState, Report, specs_to_json
from appliance.supervise.where import LIST, read_report, reload, supervisor_pid
from tests.support.box import environment, wait_until

TINY = Path(__file__).with_name("tiny_server.py")


@dataclass
class Supervised:
    """One list of processes. `run` is the folder; `process` the supervisor, once started."""

    run: Path
    specs: list[ProcessSpec] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def journal(self) -> list[str]:
        """What the servers wrote about themselves, in order."""
        file = self.run / "journal"
        return file.read_text().splitlines() if file.exists() else []

    def add(self, name: str, *options: str, **fields: Any) -> ProcessSpec:
        """Put a tiny server at the end of the list; `fields` are of its ProcessSpec."""
        address = self.socket(name)
        script = (sys.executable, "-I", "-S", str(TINY))
        known = ("--name", name, "--journal", str(self.run / "journal"), "--socket", str(address))
        spec = ProcessSpec(
            name=name,
            argv=(*script, *known, *options),
            log=str(self.log(name)),
            **{"probe": Probe(path="/", socket=str(address)), "stale": (str(address),), **fields},
        )
        self.specs.append(spec)
        return spec

    def remove(self, name: str) -> None:
        """Take a server off the list."""
        self.specs = [spec for spec in self.specs if spec.name != name]

    def reload(self) -> str:
        """Hand the supervisor the list as it is now; returns once it is taken, with its digest."""
        digest = reload(self.run, tuple(self.specs))
        wait_until(lambda: (found := self.report()) is not None and found.list_digest == digest, what="the new list")
        return digest

    def socket(self, name: str) -> Path:
        """Where a server listens."""
        return self.run / f"{name}.sock"

    def log(self, name: str) -> Path:
        """Where its output goes."""
        return self.run / f"{name}.log"

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        """Start a supervisor on the list; `before` is put ahead of its command line."""
        (self.run / LIST).write_text(specs_to_json(tuple(self.specs)))
        command = [*before, sys.executable, "-P", "-m", "appliance.supervise", str(self.run)]
        with (self.run / "supervisor.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
        return self.process

    def report(self) -> Report | None:
        """What the supervisor that runs now reports; None before its first word."""
        found = read_report(self.run)
        return found if found is not None and found.supervisor == supervisor_pid(self.run) else None

    def state(self, name: str) -> ProcessState:
        """The last that was reported of a process."""
        report = read_report(self.run)
        assert report is not None
        return next(state for state in report.processes if state.name == name)

    def is_(self, name: str, state: str) -> bool:
        """Whether the running supervisor reports that state of a process."""
        found = self.report()
        return found is not None and any(one.name == name and one.state == state for one in found.processes)

    def until_ready(self) -> None:
        """Wait until all are ready."""
        wait_until(lambda: (found := self.report()) is not None and found.all_ready, what="readiness of all")

    def until_settled(self) -> None:
        """Wait until all are ready and what was taken off the list is gone."""
        wait_until(lambda: (found := self.report()) is not None and found.settled, what="a settled list")

    def names(self) -> list[str]:
        """The names in the last report, in order."""
        report = read_report(self.run)
        assert report is not None
        return [state.name for state in report.processes]

    def pid(self, name: str) -> int:
        """The process that runs under a name now."""
        found = self.state(name).pid
        assert found is not None
        return found

    def ask(self, name: str) -> dict[str, Any]:
        """What a server answers."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.socket(name)))
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            response = http.client.HTTPResponse(line)
            response.begin()
            with response:
                found: dict[str, Any] = json.load(response)
        return found

    def end(self, number: int = signal.SIGTERM) -> int:
        """End the supervisor; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def __enter__(self) -> Supervised:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is only waiting to be asked after does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def without_powers() -> list[str]:
    """What to put ahead of a command so that it may neither overrule file rights nor raise priorities."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-sys_nice", "--"]
