"""What tuning has found: stored, found again, and laid over what would run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config.paths import Home
from appliance.config.settings import EngineSettings
from appliance.control.plan import catalogue
from appliance.control.tuned import fixed, tuned_for, with_tuned
from appliance.control.tuning import amount_for
from appliance.engine.arguments import DEFAULTS, Options
from appliance.engine.measure import Speed
from appliance.engine.prose import TEXT
from appliance.hardware.facts import Hardware
from appliance.proof import tunings
from appliance.proof.keys import machine_key
from appliance.proof.settings import Setting, differences
from appliance.proof.tunings import Tuned, read
from appliance.selector.choose import choose
from appliance.store.sessions import session

MACHINE = Hardware("A processor", frozenset(), cores=4, memory=1 << 34)
START = Setting(4, 4)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "appliance.toml", tmp_path / "var")


def test_where_nothing_was_ever_tuned_there_is_nothing_and_no_database_is_made(home: Home) -> None:
    assert tuned_for(home, MACHINE, "smol") is None
    assert not home.state.exists()


def test_the_newest_of_a_machine_and_a_model_is_found_again(home: Home) -> None:
    home.prepare()
    best = Setting(2, 8, "q8_0", Options(1, 1024, "off", "ngram-mod", 1024))
    with session(home.database) as opened:
        tunings.save(opened, machine_key(MACHINE), "smol", {"threads": 1}, [])
        tunings.save(opened, machine_key(MACHINE), "smol", differences(START, best), [{"change": "as it is"}])
        tunings.save(opened, machine_key(MACHINE), "other", {"threads": 3}, [])
        tunings.save(opened, "another machine", "smol", {"threads": 3}, [])
    before = sorted((path.name, path.stat().st_mtime_ns) for path in home.state.iterdir() if path.is_file())
    found = tuned_for(home, MACHINE, "smol")
    assert found == Tuned(best.options, 2, 8, "q8_0")
    assert tuned_for(home, replace(MACHINE, cores=8), "smol") is None
    names = {name for name, _ in before}
    assert [one for one in before if one[0].startswith("appliance.db-gen")] == [
        (path.name, path.stat().st_mtime_ns) for path in home.state.glob("appliance.db-gen*")
    ], names
    with session(home.database) as opened:
        row = tunings.newest_row(opened, machine_key(MACHINE), "smol")
        assert row is not None
        assert json.loads(row.table) == [{"change": "as it is"}]


def test_what_another_version_has_stored_never_stops_anything() -> None:
    stored = {
        "threads": 3,
        "warp": 9,
        "micro_batch": "many",
        "kv": "q2",
        "guess": "oracle",
        "flash": "on",
        "slots": True,
    }
    assert read(json.dumps(stored)) == Tuned(Options(flash="on"), threads=3)
    assert read("{}") == read("[]") == read("not json") == read('"x"') == Tuned()
    assert read('{"slots": 0, "threads": -1, "batch": 1e9, "reading_threads": 0}') == Tuned()


def test_a_choice_takes_what_was_tuned_except_for_what_the_settings_file_names() -> None:
    choice = choose("chat", EngineSettings(), catalogue(), MACHINE)
    tuned = Tuned(Options(flash="off"), threads=2, slots=8, kv="q8_0")
    assert with_tuned(choice, EngineSettings(), None, 4) == choice
    assert with_tuned(choice, EngineSettings(), Tuned(), 4) == choice
    found = with_tuned(choice, EngineSettings(), tuned, 4)
    assert (found.threads, found.slots, found.kv, found.options) == (2, 8, "q8_0", tuned.options)
    sharing = replace(choice, threads=1)
    assert with_tuned(sharing, EngineSettings(), tuned, 4).threads == 1
    named = EngineSettings(slots=2, threads=0)
    mixed = with_tuned(choose("chat", named, catalogue(), MACHINE), named, tuned, 4)
    assert (mixed.threads, mixed.slots, mixed.kv) == (2, 2, "q8_0")


def test_what_the_settings_file_names_is_its_own_business() -> None:
    assert fixed(EngineSettings()) == frozenset()
    assert fixed(EngineSettings(slots=4, kv="f16", threads=2)) == {"slots", "kv", "threads"}
    assert fixed(EngineSettings(threads=0)) == frozenset(), "0 leaves it to us"


@pytest.mark.parametrize("speed", [Speed(20, 9, 12), Speed(340, 150, 208), Speed(8000, 120, 900), Speed(0.5, 0.1, 0.1)])
@pytest.mark.parametrize("context", [512, 1024, 8192])
def test_a_measurement_takes_as_long_as_it_may_within_limits(speed: Speed, context: int) -> None:
    amount = amount_for(speed, 4, 5.0, context)
    assert amount.read + amount.written <= context
    assert 128 <= amount.read <= 1024
    assert 24 <= amount.written <= 128
    if speed.prompt > 300:
        took = amount.read / speed.prompt + amount.written * (1 / speed.alone + 4 / speed.together)
        assert took < 6


def test_the_prose_that_is_read_repeats_nothing() -> None:
    words = TEXT.split()
    runs = [tuple(words[place : place + 5]) for place in range(len(words) - 4)]
    assert len(set(runs)) == len(runs)
    assert len(words) > 600
    assert Options() == DEFAULTS
