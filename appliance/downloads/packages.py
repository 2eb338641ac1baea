"""Fetch one pinned file from the package registry, with pip: its proxies, mirrors and certificates apply."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from appliance.errors import ApplianceError


def download(requirement: str, into: Path, *, source_with: Path | None = None) -> Path:
    """Download one distribution. Raises registry-unreachable, wrong-hash, disk-too-small or download-failed.

    `requirement` is pinned and carries its hash (`name==1.0 --hash=sha256:...`). `source_with`
    asks for the source distribution, and is a Python that has the package's build backend: pip
    asks that for the package's name. Returns the downloaded file. Progress goes to stderr.
    """
    with tempfile.TemporaryDirectory(dir=into) as scratch:
        wish = Path(scratch, "wish.txt")
        wish.write_text(requirement + "\n")
        log = Path(scratch, "log.txt")
        fetched = Path(scratch, "fetched")
        chosen = ["--python", str(source_with)] if source_with else []
        pip = [sys.executable, "-P", "-m", "pip", *chosen, "download", "--quiet", "--no-input"]
        pins = ["--no-deps", "--require-hashes", "--disable-pip-version-check", "-r", str(wish)]
        command = [*pip, *pins, "--dest", str(fetched), "--log", str(log)]
        if source_with:
            command += ["--no-binary", ":all:", "--no-build-isolation"]
        done = subprocess.run(command, stdout=sys.stderr.fileno(), stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise _explain(requirement.split()[0], log.read_text(errors="replace") if log.exists() else "")
        (file,) = fetched.iterdir()
        return file.rename(into / file.name)


def install_locked(lock: str, python: Path) -> None:
    """Install all that a lock file lists, and nothing else, into the environment of `python`; pip is ours.

    Raises registry-unreachable, wrong-hash, disk-too-small or download-failed. Progress goes to stderr.
    """
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch, "pins.txt")
        pins.write_text(lock)
        log = Path(scratch, "log.txt")
        pip = [sys.executable, "-P", "-m", "pip", "--python", str(python), "install", "--quiet", "--no-input"]
        # Without dependencies: what is not on the list is left out on purpose.
        options = [
            "--no-deps",
            "--require-hashes",
            "--only-binary",
            ":all:",
            "--no-compile",
            "--disable-pip-version-check",
        ]
        command = [*pip, *options, "-r", str(pins), "--log", str(log)]
        done = subprocess.run(command, stdout=sys.stderr.fileno(), stderr=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise _explain("A package of the list", log.read_text(errors="replace") if log.exists() else "")


def _explain(name: str, log: str) -> ApplianceError:
    if "DO NOT MATCH THE HASHES" in log:
        lines = [
            line.strip().split(" ", 1)[-1] for line in log.splitlines() if "Expected sha256" in line or "Got  " in line
        ]
        found = "; ".join(" ".join(line.split()) for line in lines[:2])
        return ApplianceError(
            "wrong-hash",
            f"{name} is not the file that was pinned ({found}).",
            "Do not use this registry or mirror until it is explained.",
        )
    if "No space left on device" in log:
        return ApplianceError(
            "disk-too-small", f"There is no room to download {name}.", "Free some room and run it again."
        )
    if "No matching distribution" in log or "Max retries exceeded" in log or "ConnectionError" in log:
        return ApplianceError(
            "registry-unreachable",
            f"{name} could not be fetched: the package registry does not answer, or does not have it.",
            "Check the network, the proxy and pip's index setting, then run it again.",
        )
    last = [line for line in log.splitlines() if "ERROR" in line][-1:] or ["no reason given"]
    return ApplianceError("download-failed", f"{name} could not be downloaded: {last[0][-300:]}.", "Run it again.")
