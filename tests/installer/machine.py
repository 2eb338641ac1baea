"""A machine as the installer sees it: a checkout, an empty home, a package folder, and what a test fakes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SHIPPED = ("appliance", "installer", "requirements", "pyproject.toml", "README.md")
# What the installer calls; a PATH of these alone lacks whatever a test leaves out.
TOOLS = (
    *("apt-get", "awk", "bash", "cat", "chmod", "cmp", "cp", "cut", "date", "df", "dirname", "env", "find", "flock"),
    *("g++", "gcc", "getent", "grep", "head", "id", "install", "ln", "ls", "mkdir", "mktemp", "mv", "python3"),
    *("readlink", "realpath", "rm", "sed", "setsid", "sha256sum", "sort", "stat", "strip", "sync", "tail", "tee"),
    *("touch", "tr", "uname", "wc", "xargs"),
)


@dataclass
class Machine:
    """Runs the installer of a copied checkout with nothing of this user's own around it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("home", "tmp", "packages", "root"):
            (self.folder / name).mkdir()
        self.checkout.mkdir()
        for name in SHIPPED:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, self.checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, self.checkout / name)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("APPLIANCE_", "UV_", "XDG_"))},
            "HOME": str(self.home),
            "TMPDIR": str(self.folder / "tmp"),
            "APPLIANCE_TEST_ROOT": str(self.folder / "root"),
        }

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def prefix(self) -> Path:
        return self.folder / "prefix"

    @property
    def tools(self) -> Path:
        return self.folder / "tools"

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    def without_network(self) -> Path:
        """Pin the installer's first package to one in a folder, which is then all that pip knows; returns it."""
        for name in [name for name in self.environment if name.startswith("PIP_")]:
            del self.environment[name]
        self.environment |= {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "packages"),
        }
        wheel = self.folder / "packages/tiny-1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("tiny-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1\n")
            archive.writestr("tiny-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr("tiny-1.dist-info/RECORD", "")
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        (self.checkout / "requirements/installer.txt").write_text(f"tiny==1 \\\n    --hash=sha256:{digest}\n")
        return wheel

    def fake_file(self, path: str, text: str) -> None:
        """Put a file that describes the machine in the place of the real one."""
        file = self.folder / "root" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def usual_tools(self) -> None:
        """Have the usual tools on the PATH, and nothing else."""
        self.tools.mkdir()
        for name in TOOLS:
            found = os.path.realpath(sys.executable) if name == "python3" else shutil.which(name)
            if found:
                (self.tools / name).symlink_to(found)
        self.environment["PATH"] = str(self.tools)

    def replace_tool(self, name: str, script: str | None) -> None:
        """Have a shell script in the place of a tool, or nothing."""
        (self.tools / name).unlink(missing_ok=True)
        if script is not None:
            (self.tools / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.tools / name).chmod(0o755)

    def command(self, *arguments: str) -> list[str]:
        """The installer's command line, for this machine's prefix."""
        return [str(self.checkout / "installer/install.sh"), "--prefix", str(self.prefix), *arguments]

    def install(self, *arguments: str, through: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the installer without a terminal, to its end."""
        return subprocess.run(
            [*through, *self.command(*arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def traces(self) -> list[str]:
        """What the installer left in the home, the temporary folder and the prefix."""
        return [
            str(path.relative_to(self.folder))
            for name in ("home", "tmp", "prefix")
            for path in (self.folder / name).rglob("*")
        ]


def failures(text: str) -> dict[str, tuple[str, str]]:
    """The failures in what the installer said: by code, the sentence and the next step."""
    return {
        code: (said, then) for code, said, then in re.findall(r"^Error \(([a-z-]+)\): (.+)\n  Next: (.+)$", text, re.M)
    }
