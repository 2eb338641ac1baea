"""What the installed engine says it was built for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from appliance.engine.location import ABOUT, Installed, about, find, installed
from appliance.errors import ApplianceError

SAID = {"backend": "cuda", "architectures": ["86", "90"], "version": "0.3.36", "key": "llama_cpp_python-x"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed engine's programs."""
    folder = tmp_path / "llama_cpp/lib"
    folder.mkdir(parents=True)
    (tmp_path / "llama_cpp/__init__.py").write_text("")
    (folder / "llama-server").write_text("")
    # Another test may have imported the real one.
    monkeypatch.delitem(sys.modules, "llama_cpp", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_the_installed_engine_says_its_backend(package: Path) -> None:
    (package / ABOUT).write_text(json.dumps(SAID))
    assert find() == package / "llama-server"
    assert installed() == Installed("cuda", ("86", "90"), "0.3.36", "llama_cpp_python-x")


def test_an_engine_from_before_it_said_so_is_for_the_processor(package: Path) -> None:
    assert installed() == Installed("cpu", (), None, None)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps(SAID | {"backend": "metal"}), '{"backend": 1}'])
def test_what_cannot_be_read_is_a_broken_installation(tmp_path: Path, text: str) -> None:
    (tmp_path / ABOUT).write_text(text)
    with pytest.raises(ApplianceError, match=str(tmp_path)) as caught:
        about(tmp_path)
    assert caught.value.code == "engine-missing"
