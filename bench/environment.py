"""The environment of the peers that are Python programs of others: made once, from the lock file, for its content."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from appliance.config.paths import cache_folder
from bench.tools import BENCH, BenchError

LOCK = BENCH.parent / "requirements" / "bench.txt"
_LIMIT_SECONDS = 1800.0


def programs() -> Path:
    """The folder with `python`, `uvicorn` and `litellm` of the peers; made first where it is missing (0.7 GB)."""
    digest = hashlib.sha256(LOCK.read_bytes() + platform.python_version().encode()).hexdigest()[:12]
    folder = cache_folder() / f"bench-{digest}"
    if not (folder / "ready").exists():
        sys.stderr.write(f"Setting up the peers in {folder}\n")
        folder.parent.mkdir(parents=True, exist_ok=True)
        installer = uv()
        run(installer, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        python = str(folder / "bin" / "python")
        run(installer, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(LOCK))
        run(python, "-m", "compileall", "-q", str(folder / "lib"), check=False)
        (folder / "ready").touch()
    return folder / "bin"


def version(package: str) -> str:
    """The version that the lock file pins."""
    for line in LOCK.read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line.removeprefix(f"{package}==").split()[0]
    raise BenchError(f"{LOCK.name} does not pin {package}")


def uv() -> str:
    """uv from the PATH, or the one that the installer and the tests keep in the user's cache folder."""
    kept = sorted(cache_folder().glob("uv-*/bin/uv"), key=lambda path: path.stat().st_mtime)
    found = shutil.which("uv") or (str(kept[-1]) if kept else None)
    if found is None:
        raise BenchError(
            "no uv to install the peers with: run ./tests/run --fast once, or leave the peers out: --peers"
        )
    return found


def run(*command: str, check: bool = True) -> None:
    """Runs a command with its complaints on stderr; a compile of all files may complain about a template."""
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    quiet = None if check else subprocess.DEVNULL
    done = subprocess.run(
        command, timeout=_LIMIT_SECONDS, check=False, env=environment, stdout=quiet or sys.stderr, stderr=quiet
    )
    if check and done.returncode:
        raise BenchError(f"the peers could not be installed: {' '.join(command)} ended with {done.returncode}")
