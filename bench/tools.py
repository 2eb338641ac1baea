"""The two C programs of the harness: compiling them, the fake engine as a process, one load run."""

from __future__ import annotations

import http.client
import json
import os
import platform
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
BUILD = BENCH / "build"
MODEL = "fake-model"
PATIENCE_SECONDS = 30
ENGINE_LIFETIME_SECONDS = 3600
CONTROL_SECONDS = 30.0  # it has one thread, which may be busy writing long answers


class BenchError(Exception):
    """The harness could not measure; the text says why."""


@dataclass(frozen=True)
class Case:
    """One kind of load. No `chunks`: plain answers; else streams, `delay_ms` between chunks."""

    clients: int
    chunks: int = 0
    delay_ms: int = 0

    @property
    def name(self) -> str:
        """The case as the report calls it."""
        clients = "1 client" if self.clients == 1 else f"{self.clients} clients"
        if not self.chunks:
            return f"plain, {clients}"
        return f"stream of {self.chunks}, {self.delay_ms} ms apart, {clients}"


@dataclass(frozen=True)
class Load:
    """What one load run gave. Times in milliseconds; `events` are server-sent events received."""

    finished: int
    failed: int
    hung_up: int
    rps: float
    p50: float
    p99: float
    events: int
    first_error: str


def tool(name: str) -> Path:
    """The compiled program `name`, compiled first when it is missing or older than its source."""
    source, program = BENCH / f"{name}.c", BUILD / name
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise BenchError("no C compiler: install gcc")
    BUILD.mkdir(exist_ok=True)
    fresh = BUILD / f"{name}.{os.getpid()}.{threading.get_ident()}"
    command = [compiler, "-O2", "-Wall", "-Wextra", "-o", str(fresh), str(source), "-lm"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if result.returncode:
        raise BenchError(f"{source.name} does not compile:\n{result.stderr}")
    fresh.replace(program)
    return program


def get(port: int, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """Status and body of one GET on 127.0.0.1; status 0 when there was no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


class Engine:
    """The fake engine as a process of its own, on a free port."""

    def __enter__(self) -> Self:
        """Starts it and reads its port from its first line."""
        command = [str(tool("upstream")), "0", str(ENGINE_LIFETIME_SECONDS)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the fake engine did not start")
        self.port = int(json.loads(line)["port"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate(timeout=10)

    def control(self, **settings: int) -> dict[str, int]:
        """Changes the settings named (see upstream.c) and returns the counters."""
        query = "&".join(f"{name}={value}" for name, value in settings.items())
        status, body = get(self.port, f"/control?{query}", timeout=CONTROL_SECONDS)
        if status != 200:
            raise BenchError("the fake engine no longer answers")
        counters: dict[str, int] = json.loads(body)["counters"]
        return counters


def place() -> str:
    """When and where something is measured, for the head of a report."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = named[0] if named else platform.machine()
    load = os.getloadavg()[0]
    return (
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, Python {platform.python_version()}, "
        f"{processor}, {len(os.sched_getaffinity(0))} CPUs shared by all, "
        f"load average {load:.1f}."
    )


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def load_command(port: int, case: Case, *, seconds: float, requests: int, key: str | None = None) -> list[str]:
    """How the load generator is started: until `seconds` are over or `requests` have been sent."""
    command = [str(tool("loadgen")), "-p", str(port), "-c", str(case.clients), "-n", str(requests)]
    command += ["-t", str(seconds), "-w", str(PATIENCE_SECONDS)]
    if key is not None:
        command += ["-H", f"Authorization: Bearer {key}"]
    return command


def run_load(
    port: int, case: Case, *, seconds: float, requests: int, key: str | None = None, more: Sequence[str] = ()
) -> Load:
    """Loads 127.0.0.1:`port` until `seconds` are over or `requests` have been sent; `more` goes to loadgen."""
    command = [*load_command(port, case, seconds=seconds, requests=requests, key=key), *more]
    limit = seconds + PATIENCE_SECONDS + 10
    try:
        done = subprocess.run(command, input=body(case), capture_output=True, text=True, timeout=limit, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        raise BenchError(f"the load generator failed: {error}") from error
    return _load(json.loads(done.stdout))


def body(case: Case) -> str:
    """The request of a case, as JSON."""
    request: dict[str, Any] = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Say something short about good neighbours."}],
        "max_tokens": 64,
    }
    if case.chunks:
        request |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(request, separators=(",", ":"))


def _load(result: dict[str, Any]) -> Load:
    return Load(
        finished=result["finished"],
        failed=result["failed"],
        hung_up=result["hung_up"],
        rps=result["rps"],
        p50=result["latency_ms"]["p50"],
        p99=result["latency_ms"]["p99"],
        events=result["events"],
        first_error=result["first_error"],
    )
