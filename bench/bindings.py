"""`python -m llama_cpp.server`, the server of the engine's own Python bindings: what many people begin with.

It runs the same build of llama.cpp as we do, from the same wheel, with the same model and as many threads.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.config.paths import cache_folder
from bench import environment, processes, tools
from bench.tools import ROOT, BenchError

_START_LIMIT_S = 120.0
_BUILD_LIMIT_S = 3600.0


class Bindings:
    """The server as a process on a port of its own; `log` is the file for what it says."""

    def __init__(self, model: Path, context: int, threads: int, log: Path) -> None:
        self.port = tools.free_port()
        self._log = log
        self._command = [
            str(_python()), "-m", "llama_cpp.server", "--model", str(model),
            "--host", "127.0.0.1", "--port", str(self.port),
            "--n_ctx", str(context),
            "--n_threads", str(threads), "--n_threads_batch", str(threads),
            # Else a second request ends the first one in the middle.
            "--interrupt_requests", "False",
        ]  # fmt: skip

    def __enter__(self) -> Self:
        """Starts it and waits until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_LIMIT_S
        while tools.get(self.port, "/v1/models", timeout=1.0)[0] != 200:
            if time.monotonic() > deadline or self._process.poll() is not None:
                processes.kill(self._process.pid)
                tail = self._log.read_text(errors="replace")[-1000:]
                raise BenchError(f"llama_cpp.server did not start:\n{tail}")
            time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends it."""
        processes.stop(self._process.pid)
        self._process.wait(timeout=10)


def _python() -> Path:
    """The interpreter of an environment with the peers' packages and the engine's wheel; made where it is missing."""
    wheel = _wheel()
    peers = environment.programs().parent
    digest = hashlib.sha256(f"{peers.name} {wheel}".encode()).hexdigest()[:12]
    folder = cache_folder() / f"bindings-{digest}"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        environment.run(environment.uv(), "venv", "--quiet", "--python", sys.executable, str(folder))
        python = str(folder / "bin/python")
        environment.run(environment.uv(), "pip", "install", "--quiet", "--python", python, "--no-deps", wheel)
        # What it imports lies beside the other peers.
        (site,) = folder.glob("lib/python*/site-packages")
        (beside,) = peers.glob("lib/python*/site-packages")
        (site / "peers.pth").write_text(f"{beside}\n")
        (folder / "ready").touch()
    return folder / "bin/python"


def _wheel() -> str:
    """The engine's wheel, built first where it is missing."""
    command = [sys.executable, "-m", "appliance", "engine", "build"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=_BUILD_LIMIT_S, check=False)
    if done.returncode:
        raise BenchError("the engine's wheel could not be built")
    return done.stdout.strip()
