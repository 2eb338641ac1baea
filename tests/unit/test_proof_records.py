"""Proofs on a real database: the newest, the one that others are held against, and those to plan with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session

from appliance.proof import records
from appliance.store.sessions import session
from tests.support.proofs import on_card, proof

HERE, THERE = "8 cores", "another machine"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of the newest schema."""
    made = tmp_path_factory.mktemp("records") / "appliance.db"
    with session(made):
        pass
    return made


@pytest.fixture
def opened(file: Path) -> Iterator[Session]:
    """A session on a database without proofs; what a test writes is taken back."""
    with session(file) as made:
        yield made
        made.rollback()


def test_without_a_proof_there_is_nothing_to_find(opened: Session) -> None:
    assert records.newest(opened, HERE, "m") is None
    assert records.baseline(opened, HERE, "m") is None
    assert records.all_newest(opened, HERE) == records.all_measured(opened, HERE) == {}


def test_a_proof_is_kept_as_it_was(file: Path) -> None:
    values = {"offloaded": True, "alarm": "slow", "cause": "x", "taken_gpu": 2**40, "together_speed": 1.25}
    with session(file) as opened:
        records.save(opened, on_card(model="kept", **values))
    with session(file) as opened:
        found = records.newest(opened, HERE, "kept")
        assert found is not None
        assert found.id is not None
        assert {name: getattr(found, name) for name in values} == values
        opened.delete(found)


def test_the_newest_is_that_of_the_machine_and_model_whatever_the_clock_said(opened: Session) -> None:
    for at, plan in ((3, "old"), (2, "new")):
        records.save(opened, proof(at=at, plan=plan))
    records.save(opened, proof(model="n", plan="other model"))
    records.save(opened, proof(machine=THERE, plan="other machine"))
    found = records.newest(opened, HERE, "m")
    assert found is not None
    assert found.plan == "new"


def test_the_baseline_is_the_last_that_was_made_one(opened: Session) -> None:
    for plan, is_baseline in (("first", True), ("second", True), ("third", False)):
        records.save(opened, proof(plan=plan, is_baseline=is_baseline))
    records.save(opened, proof(machine=THERE, is_baseline=True, plan="other machine"))
    found = records.baseline(opened, HERE, "m")
    assert found is not None
    assert found.plan == "second"


def test_every_model_of_the_machine_is_told_with_its_last_proof(opened: Session) -> None:
    for model, plan in (("m", "1"), ("n", "2"), ("m", "3")):
        records.save(opened, proof(model=model, plan=plan))
    records.save(opened, proof(machine=THERE, model="o"))
    found = records.all_newest(opened, HERE)
    assert {model: one.plan for model, one in found.items()} == {"m": "3", "n": "2"}


def test_plans_rest_on_the_last_speed_that_was_measured_and_was_no_alarm(opened: Session) -> None:
    records.save(opened, proof(plan="good"))
    records.save(opened, proof(plan="busy", alone_speed=0.0))
    records.save(opened, proof(plan="hot", alone_speed=1.0, alarm="slow", cause="It is hot."))
    records.save(opened, proof(model="n", alone_speed=0.0))
    assert {model: one.plan for model, one in records.all_measured(opened, HERE).items()} == {"m": "good"}
