"""How engines share the cores of a processor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.selector.threads import threads

ROLES = ("chat", "small", "embed", "rerank")


@pytest.mark.parametrize(
    ("cores", "chat", "small", "embed"), [(1, 1, 1, 1), (2, 1, 1, 1), (4, 3, 1, 2), (8, 6, 2, 4), (16, 12, 4, 8)]
)
def test_the_large_and_the_small_model_share_the_cores(cores: int, chat: int, small: int, embed: int) -> None:
    assert [threads(role, {*ROLES} - {role}, cores) for role in ROLES] == [chat, small, embed, embed]


@pytest.mark.parametrize("beside", [(), ("embed",), ("embed", "rerank")])
def test_what_writes_alone_has_all_cores(beside: tuple[str, ...]) -> None:
    assert threads("chat", beside, 8) == threads("small", beside, 8) == 8


@given(cores=st.integers(2, 512))
def test_two_that_write_never_have_more_threads_than_there_are_cores(cores: int) -> None:
    assert threads("chat", {"small"}, cores) + threads("small", {"chat"}, cores) <= cores


@given(role=st.sampled_from(ROLES), beside=st.sets(st.sampled_from(ROLES)), cores=st.integers(1, 512))
def test_everybody_has_a_thread_and_nobody_more_than_there_are_cores(role: str, beside: set[str], cores: int) -> None:
    assert 1 <= threads(role, beside, cores) <= cores
