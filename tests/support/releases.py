"""An installation as the installer makes it, in small, and releases to update it to: real wheels, real environments.

The packages that both need are those of the tests' own environment, which a release finds by one path; so a release is
made in a second.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.units import now_us
from appliance.update import signing
from tests.support.box import ROOT, Box

OLD = "0.1.0-0123456789ab"
VERSION = "0.2.0"
_DAY_US = 86_400_000_000
_MIGRATION = '''"""What the new version keeps besides."""

from alembic import op

revision = "9999"
down_revision = "{head}"


def upgrade() -> None:
    op.execute("CREATE TABLE novelty (id INTEGER PRIMARY KEY)")
    op.execute("INSERT INTO novelty VALUES (1)")


def downgrade() -> None:
    op.execute("DROP TABLE novelty")
'''


@dataclass
class Installed(Box):
    """A box whose command is that of an installation's current release."""

    keys: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.code = self.folder / "code"
        folder = self.code / "releases" / OLD
        _environment(folder / "venv", ROOT)
        (folder / ".complete").write_text("engine\n")
        (self.code / "current").symlink_to(f"releases/{OLD}")
        self.signers = [self.folder / f"{name}.key" for name in ("anna", "carl")]
        self.keys = [signing.new_key(one) for one in self.signers]

    @property
    def current(self) -> str:
        """The name of the current release."""
        return (self.code / "current").resolve().name

    def argv(self, *words: str) -> list[str]:
        python = (self.code / "current").resolve() / "venv/bin/python"
        return [str(python), *super().argv(*words)[1:]]

    def settings(self, engine: str, more: str = "") -> None:
        """Settings with an engine behind a URL, and whose signatures releases must have."""
        keys = ", ".join(f'"{one}"' for one in self.keys)
        model = f'[engines.chat]\nurl = "{engine}"\nmodel = "fake"\n'
        self.configure(f"engine_wait_s = 2\n{more}\n{model}\n[update]\nkeys = [{keys}]\n")

    def release(self, name: str = "release", serial: int = 2, changed: Mapping[str, tuple[str, str]] = {}) -> Path:
        """A signed release; `changed` puts other text into a module, by its path: what it is instead of."""
        folder = self.folder / name
        (folder / "wheels").mkdir(parents=True)
        (folder / "engine").mkdir()
        tree = _tree(self.folder / f"{name}-tree", changed)
        wheels = [
            wheel(folder / "wheels", "appliance", VERSION, tree),
            wheel(folder / "wheels", "shared", "1.0", {"shared.pth": f"{sysconfig.get_path('purelib')}\n".encode()}),
        ]
        wheel(folder / "engine", "stub", "1.0", {"stub_engine.py": b""})
        lines = [f"{one.name.split('-')[0]}=={one.name.split('-')[1]} --hash=sha256:{_sha256(one)}" for one in wheels]
        (folder / "requirements.txt").write_text("\n".join(lines) + "\n")
        signing.make(folder, VERSION, serial, now_us() + 30 * _DAY_US, "0.1.0")
        for one in self.signers:
            signing.sign(folder, one)
        return folder


def without_paths() -> dict[str, str | None]:
    """What takes this checkout out of a command's environment, so that a release runs its own code."""
    return {"PYTHONPATH": None}


def wheel(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> Path:
    """A wheel of plain files."""
    about = f"{name}-{version}.dist-info"
    whole = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}"
        for path, data in whole.items()
    ]
    made = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as packed:
        for path, data in whole.items():
            packed.writestr(path, data)
        packed.writestr(f"{about}/RECORD", "\n".join([*lines, f"{about}/RECORD,,"]) + "\n")
    return made


def _tree(work: Path, changed: Mapping[str, tuple[str, str]]) -> dict[str, bytes]:
    """The files of the next version: this one's, another number, and one migration more."""
    shutil.copytree(ROOT / "appliance", work / "appliance", ignore=shutil.ignore_patterns("__pycache__"))
    package = work / "appliance"
    schema = package / "store/schema.py"
    head = schema.read_text().split('HEAD = "')[1].split('"')[0]
    wanted = {
        "config/version.py": ('VERSION = "0.1.0"', f'VERSION = "{VERSION}"'),
        "store/schema.py": (f'HEAD = "{head}"', 'HEAD = "9999"'),
        **changed,
    }
    (package / "migrations/versions/9999_novelty.py").write_text(_MIGRATION.format(head=head))
    for name, (before, after) in wanted.items():
        text = (package / name).read_text()
        assert before in text, name
        (package / name).write_text(text.replace(before, after))
    files = [path for path in package.rglob("*") if path.is_file()]
    found = {path.relative_to(work).as_posix(): path.read_bytes() for path in files}
    shutil.rmtree(work)
    return found


def _environment(folder: Path, code: Path) -> None:
    """An environment that has this checkout's code, and the packages of ours."""
    base = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "old.pth").write_text(f"{code}\n{sysconfig.get_path('purelib')}\n")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
