"""Fetching a pinned file, from a folder that stands in for the registry: pip's own words become ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from appliance.downloads.packages import download
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
