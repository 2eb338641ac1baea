"""How many requests a key has under way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import ApplianceError
from appliance.gateway.limits import UnderWay


def test_one_more_than_the_limit_is_told_to_come_again() -> None:
    under_way = UnderWay(2)
    under_way.enter("a")
    under_way.enter("a")
    with pytest.raises(ApplianceError) as caught:
        under_way.enter("a")
    assert (caught.value.code, caught.value.kind.http, caught.value.retry_after_s) == ("too-many-requests", 429, 1)


def test_a_refused_request_holds_no_place_and_a_place_given_back_is_free() -> None:
    under_way = UnderWay(1)
    under_way.enter("a")
    for _ in range(3):
        with pytest.raises(ApplianceError):
            under_way.enter("a")
    under_way.leave("a")
    under_way.enter("a")


def test_one_keys_limit_is_not_anothers() -> None:
    under_way = UnderWay(1)
    under_way.enter("a")
    under_way.enter("b")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())), st.integers(min_value=1, max_value=3))
def test_places_are_never_lost_or_made_up(steps: list[tuple[str, bool]], most: int) -> None:
    under_way, held = UnderWay(most), dict.fromkeys("abc", 0)
    for key, enters in steps:
        if not enters and held[key]:
            under_way.leave(key)
            held[key] -= 1
        elif enters and held[key] < most:
            under_way.enter(key)
            held[key] += 1
        elif enters:
            with pytest.raises(ApplianceError):
                under_way.enter(key)
