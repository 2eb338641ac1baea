"""Fetching a pinned file, from a folder that stands in for the registry: pip's own words become ours."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from appliance.downloads.packages import download, install_locked
from appliance.errors import ApplianceError

DATA = b"a source distribution"
NAME = "pinned_thing-1.0.tar.gz"
GOOD = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, and nothing else in reach of pip."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "pinned_thing-1.0-py3-none-any.whl").write_bytes(DATA)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return tmp_path


def refused(requirement: str, into: Path) -> ApplianceError:
    """The error for a download that must fail; nothing of it may be left."""
    before = set(into.iterdir())
    with pytest.raises(ApplianceError) as caught:
        download(requirement, into)
    assert set(into.iterdir()) == before
    return caught.value


def test_a_file_with_another_hash_than_pinned_is_refused_with_both(shop: Path) -> None:
    error = refused(f"pinned-thing==1.0 --hash=sha256:{'0' * 64}", shop)
    assert error.code == "wrong-hash"
    assert "0" * 64 in error.sentence
    assert GOOD in error.sentence


def test_a_package_that_nobody_has_is_a_registry_that_does_not_answer(shop: Path) -> None:
    error = refused(f"no-such-thing==1.0 --hash=sha256:{GOOD}", shop)
    assert error.code == "registry-unreachable"
    assert "no-such-thing==1.0" in error.sentence


def test_whatever_else_goes_wrong_is_told_in_pips_words(shop: Path) -> None:
    error = refused("pinned-thing=1.0", shop)
    assert error.code == "download-failed"
    assert "pinned-thing=1.0" in error.sentence


def wheel(folder: Path) -> str:
    """Put a tiny wheel into a folder, which says that it needs a package that nobody has; its line of a lock file."""
    about = "tiny_thing-1.0.dist-info"
    files = {
        "tiny_thing.py": "",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\nRequires-Dist: no-such-thing\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    file = folder / "tiny_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as packed:
        for name, text in files.items():
            packed.writestr(name, text)
    return f"tiny-thing==1.0 --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


@pytest.mark.slow
def test_a_list_is_installed_as_it_is_into_an_environment_of_its_own(shop: Path) -> None:
    line = wheel(shop / "shop")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(shop / "env")], check=True)
    python = shop / "env/bin/python"
    install_locked(line, python)
    assert subprocess.run([python, "-c", "import tiny_thing"], check=False).returncode == 0
    with pytest.raises(ApplianceError) as refused:
        install_locked(f"pinned-thing==1.0 --hash=sha256:{'0' * 64}", python)
    assert refused.value.code == "wrong-hash"
