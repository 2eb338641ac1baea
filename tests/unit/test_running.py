"""The note of how each engine was planned: read as written, and not at all when another version wrote it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.config.paths import Home
from appliance.control.running import Planned, read, write
from appliance.engine.arguments import EnginePlan, Options

PLAN = EnginePlan("chat", "m", "/m.gguf", "/chat.sock", context=4096, slots=2, threads=4)
CHAT = Planned("chat", PLAN, host=1, room=2, gpu=3, context=4, compute=5)
SEARCH = replace(
    CHAT,
    process="embed-2",
    plan=replace(PLAN, role="embed", kv="q8_0", repack=False, on_gpu=True, options=Options(4, 128, "on", "ngram")),
    off_gpu="It needs more.",
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with its folder for what runs."""
    made = Home(tmp_path / "appliance.toml", tmp_path)
    made.run.mkdir()
    return made


def file(home: Home) -> Path:
    """The note; it is the only file there."""
    (found,) = home.run.iterdir()
    return found


@pytest.mark.parametrize("engines", [(), (CHAT,), (SEARCH, CHAT)])
def test_what_was_written_is_read(home: Home, engines: tuple[Planned, ...]) -> None:
    write(home, (CHAT, CHAT, CHAT))
    write(home, engines)
    assert read(home) == engines
    assert file(home).stat().st_mode & 0o777 == 0o600


def test_nobody_has_said_means_nothing_runs_as_planned(home: Home) -> None:
    assert read(home) == ()
    home.run.rmdir()
    assert read(home) == ()


def without(item: dict[str, Any], *path: str) -> dict[str, Any]:
    """A note without one of its fields."""
    first, *rest = path
    if rest:
        return {**item, first: without(item[first], *rest)}
    return {name: value for name, value in item.items() if name != first}


@pytest.mark.parametrize(
    "path", [("room",), ("process",), ("plan",), ("plan", "slots"), ("plan", "options")], ids=".".join
)
def test_a_note_of_an_older_version_that_lacks_a_field_is_none(home: Home, path: tuple[str, ...]) -> None:
    write(home, (CHAT, SEARCH))
    first, second = json.loads(file(home).read_text())
    file(home).write_text(json.dumps([first, without(second, *path)]))
    assert read(home) == ()


@pytest.mark.parametrize("where", ["", "plan", "options"])
def test_a_note_of_a_newer_version_with_one_more_field_is_none(home: Home, where: str) -> None:
    write(home, (CHAT,))
    (item,) = json.loads(file(home).read_text())
    {"": item, "plan": item["plan"], "options": item["plan"]["options"]}[where]["new"] = 1
    file(home).write_text(json.dumps([item]))
    assert read(home) == ()


@pytest.mark.parametrize(
    "said", [b"", b"{", b"\xff", b"3", b"null", b'"text"', b'{"a": 1}', b"[1]", b"[null]", b'[{"plan": []}]', b"[[]]"]
)
def test_garbage_is_none(home: Home, said: bytes) -> None:
    write(home, ())
    file(home).write_bytes(said)
    assert read(home) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["plan", "options", "process", "x"]), inner),
    max_leaves=10,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(said=JSON)
def test_no_document_makes_reading_fail(home: Home, said: object) -> None:
    write(home, ())
    file(home).write_text(json.dumps(said))
    assert read(home) == ()
