"""A Debian of its own under a systemd of its own, in a container: booted, worked in, switched off, cut off.

The root file system is made once for all runs, with packages of Debian, and lies in the cache by what it is made of.
Each machine is a layer over that. It reaches no network, and its state folder is a small disk of its own.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from appliance.config.paths import cache_folder
from tests.support.box import ROOT, wait_until
from tests.support.programs import need

SUITE = "bookworm"
# Debian 12's, with which the checkout's packages are to work as they are.
PYTHON = (3, 11)
PACKAGES = ("systemd", "dbus", "libpam-systemd", "libgomp1", "python3", "python3-venv")
SHIPPED = ("appliance", "installer", "systemd", "requirements", "pyproject.toml", "README.md")
STATE = "/var/lib/appliance"
_DISK_MIB = 512
_BOOT_S = 60
_OFF_S = 30
_FETCH_S = 900
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}


def root_file_system() -> Path:
    """The folder of a small Debian; skips the test, and says why, where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: only root can boot a system in a container")
    if sys.version_info[:2] != PYTHON:
        pytest.skip(f"NOT TESTED: the packages here are not for Python {PYTHON[0]}.{PYTHON[1]}, which that system has")
    nspawn = need("systemd-nspawn", "systemd-container")
    if subprocess.run([nspawn, "--version"], capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: systemd-nspawn does not run here; apt-get install systemd-container")
    about = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    folder = cache_folder() / "tests-systemd" / f"{SUITE}-{about}"
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        program = need("mmdebstrap", "mmdebstrap")
        command = [program, "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(partial)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_FETCH_S)
        if done.returncode:
            pytest.skip(f"NOT TESTED: a Debian to boot cannot be fetched: {done.stderr.strip()[-200:]}")
        partial.rename(folder)
    return folder


@dataclass
class Machine:
    """One such system. `folder` is for its layer and its disk; `close` gives everything back."""

    folder: Path
    below: Path
    init: int = 0
    _nspawn: subprocess.Popen[bytes] | None = None
    _mounted: list[Path] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def disk(self) -> Path:
        """Its state folder, as seen from outside."""
        return self.folder / "state"

    def make(self) -> None:
        """Put the layer over the root file system, and make the disk."""
        for name in ("root", "upper", "work", "state"):
            (self.folder / name).mkdir()
        layers = f"lowerdir={self.below},upperdir={self.folder}/upper,workdir={self.folder}/work"
        self._mount("-t", "overlay", "overlay", "-o", layers, at=self.root)
        image = self.folder / "disk"
        with image.open("wb") as file:
            file.truncate(_DISK_MIB << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        self._mount("-o", "loop", str(image), at=self.disk)

    def bring(self, model: Path) -> None:
        """Lay the checkout there, a finished release of it, and a model, so that nothing is fetched or built."""
        source = self.root / "src"
        source.mkdir()
        for name in SHIPPED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, source / name)
        (self.disk / "models").mkdir()
        shutil.copy(model, self.disk / "models")

    def finish_release(self) -> None:
        """What the installer makes of the network: a release whose packages are those of these tests."""
        name = self.succeed("bash", "-c", 'SOURCE=/src; eval "$(sed -n "/^release_name()/,/^}/p" $0)"; release_name',
                            "/src/installer/install.sh")  # fmt: skip
        release = self.root / "opt/appliance/releases" / name
        packages = release / "venv/lib/python3.11/site-packages"
        packages.mkdir(parents=True)
        (release / "venv/bin").mkdir()
        (release / "venv/bin/python").symlink_to("/usr/bin/python3")
        (release / "venv/pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
        shutil.copytree(self.root / "src/appliance", packages / "appliance")
        (packages / "others.pth").write_text("/packages\n")
        ask = (
            "from appliance.config.paths import cache_folder; from appliance.engine.build import expected; "
            "from appliance.hardware.probe import probe; print(expected(probe(), cache_folder()).key)"
        )
        python = f"/opt/appliance/releases/{name}/venv/bin/python"
        key = self.succeed("env", "APPLIANCE_CACHE=/var/cache/appliance", python, "-P", "-c", ask)
        (release / ".complete").write_text(f"{key}\n")

    def boot(self) -> None:
        """Start it, and wait until systemd has started everything that does not wait for something."""
        words = [
            *("systemd-nspawn", "-q", "-D", str(self.root), "--boot", "--register=no", "--keep-unit"),
            *("-M", f"booted-{os.getpid()}", "--private-network", "--console=pipe"),
            f"--bind-ro={sysconfig.get_path('purelib')}:/packages",
            f"--bind={self.disk}:{STATE}",
        ]
        with (self.folder / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
        wait_until(self._is_up, _BOOT_S, "the container's systemd")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program in it as root."""
        enter = ["nsenter", "-t", str(self.init), "-a", "env", "-i"]
        return subprocess.run(
            [*enter, *(f"{name}={value}" for name, value in _ENVIRONMENT.items()), *words],
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def succeed(self, *words: str) -> str:
        """The same, for what must work; returns what it said."""
        done = self.run(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def power_off(self) -> None:
        """As by its button."""
        self.run("systemctl", "poweroff")
        assert self._nspawn is not None
        self._nspawn.wait(_OFF_S)
        self._nspawn = None

    def cut_power(self) -> None:
        """All at once, as when the plug is pulled; what was not written out by programs is lost."""
        assert self._nspawn is not None
        # With its init the kernel ends all that is in a container.
        with suppress(ProcessLookupError):
            os.kill(self.init or self._nspawn.pid, signal.SIGKILL)
        try:
            self._nspawn.wait(_OFF_S)
        finally:
            self._nspawn.kill()
            self._nspawn.wait()
            self._nspawn = None

    def close(self) -> None:
        """End it, and take the mounts away."""
        if self._nspawn is not None:
            self.cut_power()
        for path in reversed(self._mounted):
            _unmount(path)

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, (self.folder / "console").read_text(errors="replace")[-2000:]
        children = psutil.Process(self._nspawn.pid).children()
        if not children:
            return False
        self.init = children[0].pid
        return self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded", "starting")

    def _mount(self, *words: str, at: Path) -> None:
        done = subprocess.run(["mount", *words, at], capture_output=True, text=True, check=False)
        if done.returncode:
            self.close()
            pytest.skip(f"NOT TESTED: this machine mounts nothing: {done.stderr.strip()}")
        self._mounted.append(at)


def _unmount(path: Path) -> None:
    for _ in range(50):
        if subprocess.run(["umount", path], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.2)
    subprocess.run(["umount", "--lazy", path], check=True)
