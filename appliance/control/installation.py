"""The installed code: its releases, which of them is the current one, and how a new one is put beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.config.paths import Home, with_update_word, without_update_word
from appliance.errors import ApplianceError
from appliance.store.privilege import as_root
from appliance.update.manifest import MANIFEST, Manifest, compare
from appliance.update.signing import files_of

RELEASES: Final = "releases"
CURRENT: Final = "current"
COMPLETE: Final = ".complete"
# A large model takes minutes to load.
_START_S: Final = 3600.0

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder as the installer makes it."""

    code: Path

    @property
    def current(self) -> str:
        """The name of the release that the command runs."""
        return (self.code / CURRENT).resolve().name

    def folder(self, release: str) -> Path:
        return self.code / RELEASES / release

    def python(self, release: str) -> Path:
        return self.folder(release) / "venv" / "bin" / "python"

    def is_complete(self, release: str) -> bool:
        """Whether a release is there, and was not cut off when it was made."""
        return (self.folder(release) / COMPLETE).exists()

    def switch(self, release: str) -> None:
        """Make a release the current one, at once and for good. Raises update-failed."""
        new = self.code / f"{CURRENT}.new"
        _call("ln", "-sfn", f"{RELEASES}/{release}", new)
        _call("mv", "-T", new, self.code / CURRENT)
        _call("sync", self.code)

    def remove(self, release: str) -> None:
        """Remove a release. Raises update-failed."""
        _call("rm", "-rf", "--", self.folder(release))

    def run(
        self, home: Home, release: str, *words: str, word: str = "", module: str = "appliance"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of a release on this home; with the `word` of an update as a part of that."""
        command = [str(self.python(release)), "-P", "-m", module]
        if module == "appliance":
            command += ["--config", str(home.config), "--state", str(home.state)]
        environment = with_update_word(word) if word else without_update_word()
        try:
            return subprocess.run(
                [*command, *words],
                capture_output=True,
                text=True,
                check=False,
                env=environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                timeout=_START_S,
                # Our commands step down by themselves.
                preexec_fn=as_root if module == "appliance" else None,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(command, 127, "", f"{error}")


def installed() -> Installation:
    """The installation that this code runs from. Raises update-unavailable."""
    release = Path(sys.prefix).parent
    code = release.parent.parent
    if release.parent.name != RELEASES or not (code / CURRENT).is_symlink():
        raise ApplianceError(
            "update-unavailable",
            f"This appliance runs from {sys.prefix}, which the installer did not make.",
            "Install it with installer/install.sh, then update that.",
        )
    return Installation(code)


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said at its end, on one line."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return " ".join(lines[-4:])[-600:] or f"exit code {done.returncode}"


def stage(installation: Installation, release: str, incoming: Path, manifest: Manifest, told: Told) -> None:
    """Put a release beside the others: an environment of its own, from the packages in the release alone.

    What was cut off is made anew. Raises update-failed or update-damaged.
    """
    if installation.is_complete(release):
        return
    folder = installation.folder(release)
    installation.remove(release)
    _call("mkdir", "-p", "--", folder)
    # To where nobody but the owner of the code can change it, and then compared once more.
    own = folder / "incoming"
    _call("cp", "-r", "--no-preserve=mode", "--", incoming, own)
    compare(manifest, files_of(own))
    told("Making the new version's environment")
    # The Python that made ours, and not the one of our environment, which goes when ours does.
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    _call(base, "-m", "venv", "--without-pip", folder / "venv")
    wheels = ("--no-index", "--find-links", own / "wheels")
    _pip(installation, release, *wheels, "--require-hashes", "-r", own / "requirements.txt")
    engine = sorted((own / "engine").glob("*.whl"))
    told("Putting the engine in" if engine else "Getting the engine for this machine")
    wheel = engine[0] if engine else _engine(installation, release)
    _pip(installation, release, "--no-index", "--no-deps", wheel)
    _call("mv", own / MANIFEST, folder / MANIFEST)
    _call("rm", "-rf", "--", own)
    # Only a release that is on the disk is complete.
    _call("sync", "-f", folder)
    _call("touch", folder / COMPLETE)
    _call("sync", folder)


def bring_page(installation: Installation, home: Home, release: str) -> None:
    """Have the chat page of a release in the cache, while everybody works. Raises update-failed."""
    done = installation.run(home, release, "chat-page", "install")
    if done.returncode != 0:
        raise _not_in_place(done)


def _engine(installation: Installation, release: str) -> Path:
    """The engine's wheel for this machine, as the new version makes it, or has it in its cache."""
    python = installation.python(release)
    return Path(json.loads(_call(python, "-P", "-m", "appliance", "engine", "build", "--json"))["wheel"])


def _pip(installation: Installation, release: str, *words: Any) -> None:
    # Ours, which comes with every release: a new environment needs none of its own for this.
    _call(
        "nice", sys.executable, "-P", "-m", "pip", "--python", installation.python(release), "--isolated",
        "--disable-pip-version-check", "--no-input", "--no-cache-dir", "install", "--quiet", *words,
    )  # fmt: skip


def _call(*words: Any) -> str:
    # The code may be root's, where the state is not.
    done = subprocess.run(
        [str(one) for one in words], capture_output=True, text=True, check=False, cwd="/", preexec_fn=as_root
    )
    if done.returncode != 0:
        raise _not_in_place(done)
    return done.stdout


def _not_in_place(done: subprocess.CompletedProcess[str]) -> ApplianceError:
    return ApplianceError(
        "update-failed",
        f"The new version cannot be put in place: {last_words(done)}.",
        "Nothing that runs was touched. Mend what it says, then run it again.",
    )
