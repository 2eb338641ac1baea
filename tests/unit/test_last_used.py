"""When each key was last used: the same as from all rows at once, however the ledger lies in steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import Session, SQLModel, create_engine

from appliance.ledger import usage
from appliance.ledger.tables import Call

KEYS = [f"key-{number}" for number in range(6)]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """An open ledger."""
    engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'a.db'}")
    SQLModel.metadata.create_all(engine)
    with Session(engine) as opened:
        yield opened
    engine.dispose()


@given(st.lists(st.sampled_from(KEYS[:5]), max_size=60), st.sets(st.sampled_from(KEYS)), st.integers(1, 9))
def test_the_newest_call_of_each_key_is_found_in_steps_of_any_size(
    ledger: Session, calls: list[str], asked: set[str], step: int
) -> None:
    day = 86_400_000_000
    rows = [
        Call(
            id=7 + number,
            request_id=f"req-{number}",
            principal="a",
            key_id=key,
            model_asked="m",
            model="m",
            streamed=False,
            started_at=1_000 * day + number * day,
        )
        for number, key in enumerate(calls)
    ]
    created: dict[str, int] = {}
    for row in rows:
        created.setdefault(row.key_id, row.started_at)
    expected = {row.key_id: row.started_at for row in rows if row.key_id in asked}
    wanted = {key: created.get(key, 1_030 * day) for key in asked}
    for row in rows:
        ledger.add(row)
    ledger.flush()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage, "_FIRST_STEP", step)
        assert usage.last_used(ledger, wanted) == expected
    ledger.rollback()
