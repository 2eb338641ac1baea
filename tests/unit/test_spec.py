"""The supervisor's list and report survive their way through a file."""

from __future__ import annotations

from typing import Any

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
    Probe, path=TEXT, socket=st.none() | TEXT, host=st.none() | TEXT, port=st.none() | st.integers(1, 65535)
)
SPEC = st.builds(
    ProcessSpec,
    name=TEXT,
    argv=TEXTS,
    probe=PROBE,
    log=TEXT,
    nice=st.integers(-20, 19),
    stale=TEXTS,
    start_s=st.floats(0, 1e6),
)
STATE = st.builds(
    ProcessState,
    name=TEXT,
    state=st.sampled_from(["waiting", "starting", "ready", "restarting", "failed"]),
    pid=st.none() | st.integers(1, 2**22),
    restarts=st.integers(0),
    since=st.integers(0, 2**60),
    prioritized=st.booleans(),
    exit_code=st.none() | st.integers(-64, 255),
    last_lines=TEXTS,
)


@given(st.lists(SPEC, max_size=3).map(tuple))
def test_a_list_of_processes_is_read_as_it_was_written(specs: tuple[ProcessSpec, ...]) -> None:
    assert specs_from_json(specs_to_json(specs)) == specs


@given(st.builds(Report, st.integers(1), st.booleans(), st.lists(STATE, max_size=3).map(tuple)))
def test_a_report_is_read_as_it_was_written(report: Report) -> None:
    assert report_from_json(report_to_json(report)) == report


def test_all_are_ready_only_when_each_one_is() -> None:
    def report(*states: str) -> Any:
        return Report(1, False, tuple(ProcessState(state, state, None, 0, 0) for state in states)).all_ready

    assert report("ready", "ready")
    assert not report("ready", "starting")
