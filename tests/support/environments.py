"""Environments of their own for programs that tests run: made once from a lock file, and kept in the cache."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.config.paths import cache_folder
from tests.support.box import ROOT

_LIMIT_S = 1200.0
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def python_environment(name: str) -> Path:
    """The folder of the programs that `requirements/NAME.txt` pins; made first where it is missing."""
    lock = ROOT / "requirements" / f"{name}.txt"
    folder = _folder(name, lock.read_bytes() + platform.python_version().encode())
    if not (folder / "ready").exists():
        uv = _uv()
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        python = str(folder / "bin" / "python")
        # Whole hashes: releases of such packages have been tampered with before.
        _run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(lock))
        (folder / "ready").touch()
    return folder / "bin"


def node_environment(source: Path) -> Path:
    """A copy of a folder of JavaScript with the packages that its lock file pins. Skips the test without Node."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no Node with npm on this machine")
    files = sorted(file for file in source.iterdir() if file.is_file())
    folder = _folder(source.name, b"".join(file.read_bytes() for file in files))
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        # `ci` takes what the lock file says, by its hashes, or fails.
        _run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder))
        (folder / "ready").touch()
    return folder


def own_environment() -> dict[str, str]:
    """Our environment variables, without what would lead a program to our packages or to keys of ours."""
    ours = ("VIRTUAL_ENV", "PYTHONPATH", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DATABASE_URL")
    # Node knows only its own list of authorities; whom this machine trusts besides stands here.
    trusted = {"NODE_EXTRA_CA_CERTS": str(_AUTHORITIES)} if _AUTHORITIES.exists() else {}
    return trusted | {name: value for name, value in os.environ.items() if name not in ours}


def _folder(name: str, content: bytes) -> Path:
    """Where the environment with this content is, or is to be."""
    folder = cache_folder() / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def _uv() -> str:
    """uv from the PATH, or the one that the tests keep in the user's cache folder."""
    kept = sorted(cache_folder().glob("uv-*/bin/uv"), key=lambda path: path.stat().st_mtime)
    found = shutil.which("uv") or (str(kept[-1]) if kept else None)
    assert found is not None, "no uv to make an environment with: run ./tests/run once"
    return found


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=_LIMIT_S, env=own_environment())
