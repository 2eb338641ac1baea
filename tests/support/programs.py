"""Programs of Debian that tests need: those of this machine, else fetched once by name with its own package tool."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from appliance.config.paths import cache_folder

_FETCH_S = 120
# Where Debian puts programs for admins, which the path of a plain user leaves out.
_ALSO = "/usr/sbin:/usr/local/sbin"


def need(program: str, package: str) -> str:
    """A program's path, and its folder on the path of all processes; skips the test, and says why, without one."""
    found = shutil.which(program) or shutil.which(program, path=_ALSO) or _fetched(program, package)
    if found is None:
        pytest.skip(f"NOT TESTED: {program} is not installed and cannot be fetched; apt-get install {package}")
    folder = os.path.dirname(found)  # noqa: PTH120
    path = os.environ.get("PATH", "")
    if folder not in path.split(":"):
        os.environ["PATH"] = f"{path}:{folder}"
    return found


def _fetched(program: str, package: str) -> str | None:
    """The program out of its package, unpacked and not installed, so no rights are needed; None without one."""
    folder = cache_folder() / "tests-packages" / package
    path = folder / "usr/bin" / program
    if not path.exists() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        folder.mkdir(parents=True, exist_ok=True)
        fetch = ["apt-get", "download", package]
        done = subprocess.run(fetch, cwd=folder, capture_output=True, check=False, timeout=_FETCH_S)
        for file in folder.glob("*.deb") if done.returncode == 0 else ():
            subprocess.run(["dpkg-deb", "-x", file, folder], capture_output=True, check=False, timeout=_FETCH_S)
    return str(path) if path.exists() else None
