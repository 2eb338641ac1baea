"""The hand-over between the planes survives its way through a file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.deployment import Deployment, Engine, Service, from_json, merged, service_from_json
from appliance.errors import ApplianceError
from appliance.terms import PriceRow, RoutingTerms

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
    held=st.booleans(),
    process=TEXT,
)
WHOLE = st.integers(0)
ROUTING = st.builds(RoutingTerms, WHOLE, small_words=st.lists(TEXT, max_size=3).map(tuple), shadow=st.booleans())
PRICES = st.lists(st.builds(PriceRow, TEXT, TEXT, WHOLE, WHOLE, WHOLE, WHOLE), max_size=3).map(tuple)
OURS = Engine("chat", "smol", ("chat", "smol"), "smol", socket="/run/chat.sock")
THEIRS = Engine("chat", "big", ("big",), "big", url="http://127.0.0.1:1/v1")


@given(st.builds(Deployment, TEXT, st.lists(ENGINE, max_size=3).map(tuple), st.integers(0)))
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
        '{"release": "1", "engines": [], "serial": "2"}',
        '{"release": "1", "engines": [], "serial": true}',
        '{"release": "1", "engines": [], "serial": null}',
        '{"release": "1", "engines": ' + "[" * 100_000,
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


def test_so_is_a_field_of_the_whole_that_this_version_does_not_know() -> None:
    data = json.loads(Deployment("1", (OURS,)).to_json()) | {"colour": "red"}
    with pytest.raises(ValueError, match="colour"):
        from_json(json.dumps(data))


def test_what_an_older_release_wrote_is_read() -> None:
    data = json.loads(Deployment("1", (OURS,), serial=7).to_json())
    del data["serial"], data["engines"][0]["held"], data["engines"][0]["process"]
    assert from_json(json.dumps(data)) == Deployment("1", (OURS,), serial=0)


@given(st.lists(ENGINE, max_size=3).map(tuple), st.lists(ENGINE, max_size=2).map(tuple), ROUTING, PRICES, PRICES)
def test_a_service_is_read_as_it_was_written(
    engines: tuple[Engine, ...],
    remote: tuple[Engine, ...],
    routing: RoutingTerms,
    prices: tuple[PriceRow, ...],
    reference: tuple[PriceRow, ...],
) -> None:
    service = Service("c", "s", "h", 1, 2, 3, 4.5, Deployment("1", engines, 6), remote, routing, prices, reference)
    assert service_from_json(service.to_json()) == service


def test_an_engine_behind_a_url_comes_before_the_stored_one_of_its_role() -> None:
    side = Engine("side", "s", ("side",), "s", socket="/run/side.sock")
    assert merged(Deployment("1", (OURS, side), 4), (THEIRS,)) == Deployment("1", (THEIRS, side), 4)
    assert merged(Deployment("1", (OURS, side), 4), ()) == Deployment("1", (OURS, side), 4)
    assert merged(Deployment("1", (), 4), (THEIRS,)) == Deployment("1", (THEIRS,), 4)
    with pytest.raises(ApplianceError) as caught:
        merged(Deployment("1", ()), ())
    assert caught.value.code == "no-engine"


def test_an_engine_that_is_held_is_the_same_engine() -> None:
    assert OURS.is_same(replace(OURS, held=True))
    assert not OURS.is_same(replace(OURS, socket="/run/chat-2.sock"))
    assert not OURS.is_same(replace(OURS, held=True, process="chat-2"))


def test_an_engine_is_run_by_the_process_of_its_role_unless_it_names_another() -> None:
    assert OURS.run_by == "chat"
    assert replace(OURS, process="chat-2").run_by == "chat-2"


def test_an_engine_is_found_by_each_of_its_names_and_no_other() -> None:
    deployment = Deployment("1", (OURS, THEIRS))
    assert deployment.find("chat") is deployment.find("smol") is OURS
    assert deployment.find("big") is THEIRS
    assert deployment.find("Smol") is None
    assert deployment.find("") is None


def test_an_engine_on_a_socket_is_ours() -> None:
    assert OURS.is_ours
    assert not THEIRS.is_ours
