"""The hand-over between the planes survives its way through a file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.deployment import Deployment, Engine, from_json

TEXT = st.text(max_size=10)
MAYBE = st.none() | TEXT
ENGINE = st.builds(
    Engine,
    role=TEXT,
    model=TEXT,
    names=st.lists(TEXT, max_size=3).map(tuple),
    upstream_model=TEXT,
    socket=MAYBE,
    url=MAYBE,
    api_key_file=MAYBE,
    context=st.none() | st.integers(1),
    slots=st.none() | st.integers(1),
    file=MAYBE,
    sha256=MAYBE,
    trial=st.booleans(),
)
OURS = Engine("chat", "smol", ("chat", "smol"), "smol", socket="/run/chat.sock")
THEIRS = Engine("chat", "big", ("big",), "big", url="http://127.0.0.1:1/v1")


@given(st.builds(Deployment, TEXT, st.lists(ENGINE, max_size=3).map(tuple)))
def test_a_deployment_is_read_as_it_was_written(deployment: Deployment) -> None:
    assert from_json(deployment.to_json()) == deployment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"text"',
        "{}",
        '{"release": "1"}',
        '{"release": "1", "engines": null}',
        '{"release": "1", "engines": [1]}',
        '{"release": "1", "engines": [{}]}',
        '{"engines": []}',
    ],
)
def test_what_is_no_deployment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a deployment"):
        from_json(text)


def test_an_engine_with_a_field_that_this_version_does_not_know_is_refused() -> None:
    data = json.loads(Deployment("1", (OURS,)).to_json())
    data["engines"][0]["gpu"] = True
    with pytest.raises(ValueError, match="gpu"):
        from_json(json.dumps(data))


def test_an_engine_is_found_by_each_of_its_names_and_no_other() -> None:
    deployment = Deployment("1", (OURS, THEIRS))
    assert deployment.find("chat") is deployment.find("smol") is OURS
    assert deployment.find("big") is THEIRS
    assert deployment.find("Smol") is None
    assert deployment.find("") is None


def test_an_engine_on_a_socket_is_ours() -> None:
    assert OURS.is_ours
    assert not THEIRS.is_ours
