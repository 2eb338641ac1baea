"""The supervisor's list and report survive their way through a file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.supervise.spec import (
    Probe,
    ProcessSpec,
    ProcessState,
    Report,
    report_from_json,
    report_to_json,
    specs_from_json,
    specs_to_json,
)

TEXT = st.text(max_size=10)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
PROBE = st.builds(
    Probe,
    path=TEXT,
    socket=st.none() | TEXT,
    host=st.none() | TEXT,
    port=st.none() | st.integers(1, 65535),
    kind=st.sampled_from(["http", "connect", "redis"]),
)
SPEC = st.builds(
    ProcessSpec,
    name=TEXT,
    argv=st.lists(TEXT, min_size=1, max_size=3).map(tuple),
    probe=PROBE,
    log=TEXT,
    nice=st.integers(-20, 19),
    stale=TEXTS,
    start_s=st.floats(0, 1e6),
    environment=st.none() | TEXT,
)
STATE = st.builds(
    ProcessState,
    name=TEXT,
    state=st.sampled_from(["waiting", "starting", "ready", "restarting", "failed", "ended", "ending"]),
    pid=st.none() | st.integers(1, 2**22),
    restarts=st.integers(0),
    since=st.integers(0, 2**60),
    prioritized=st.booleans(),
    exit_code=st.none() | st.integers(-64, 255),
    last_lines=TEXTS,
)


@given(st.lists(SPEC, max_size=3, unique_by=lambda spec: spec.name).map(tuple))
def test_a_list_of_processes_is_read_as_it_was_written(specs: tuple[ProcessSpec, ...]) -> None:
    assert specs_from_json(specs_to_json(specs)) == specs


@given(st.builds(Report, st.integers(1), st.booleans(), st.lists(STATE, max_size=3).map(tuple), TEXT))
def test_a_report_is_read_as_it_was_written(report: Report) -> None:
    assert report_from_json(report_to_json(report)) == report


@pytest.mark.parametrize(
    ("states", "all_ready", "settled"),
    [
        (("ready", "ready"), True, True),
        (("ready", "starting"), False, False),
        (("ready", "ending"), True, False),
        (("waiting", "ending"), False, False),
        ((), True, True),
    ],
)
def test_ready_is_about_the_list_and_settled_about_what_is_left_beside_it(
    states: tuple[str, ...], all_ready: bool, settled: bool
) -> None:
    report = Report(1, False, tuple(ProcessState(state, state, None, 0, 0) for state in states))
    assert (report.all_ready, report.settled) == (all_ready, settled)


def test_a_report_from_before_lists_could_change_has_no_digest() -> None:
    assert report_from_json('{"supervisor": 7, "given_up": false, "processes": []}') == Report(7, False, (), "")


def item(**changed: Any) -> dict[str, Any]:
    """One process of a list as it stands in the file, with changes."""
    (made,) = json.loads(specs_to_json((ProcessSpec("one", ("true",), Probe("/"), "one.log"),)))
    return {**made, **changed}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        "one",
        ["one"],
        [{"name": "one"}],
        [item(more=1)],
        [item(argv="true")],
        [item(argv=[])],
        [item(argv=["true", 1])],
        [item(stale=[None])],
        [item(stop_s="15")],
        [item(probe={"path": "/"})],
        [item(probe={**item()["probe"], "port": "80"})],
        [item(name="x" * 1000, log=1)],
        [item(), item()],
    ],
    ids=lambda wrong: json.dumps(wrong)[:40],
)
def test_a_list_of_the_wrong_shape_is_refused_in_one_line(wrong: Any) -> None:
    with pytest.raises(ValueError) as refused:
        specs_from_json(json.dumps(wrong))
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 250
