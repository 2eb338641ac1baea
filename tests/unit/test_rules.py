"""The rules for request fields: their edges, and what they say."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.rules import (
    Rule,
    any_json,
    either,
    flag,
    labels,
    many,
    nothing,
    number,
    one_of,
    table,
    tagged,
    text,
    whole,
)

NOT_A_NUMBER: list[Any] = [None, "1", [], {}, True, False]


def nested(deep: int) -> dict[str, Any]:
    """An object that is nested `deep` levels deep."""
    made: dict[str, Any] = {}
    for _ in range(deep - 1):
        made = {"a": made}
    return made


@pytest.mark.parametrize("value", [1, 2, 10])
def test_a_whole_number_may_be_at_its_edges(value: int) -> None:
    assert whole(1, 10).check(value) is None


@pytest.mark.parametrize("value", [0, 11, -1, 10**30, -(2**63), 1.0, 1e300, math.nan, math.inf, *NOT_A_NUMBER])
def test_a_whole_number_is_nothing_else(value: Any) -> None:
    assert whole(1, 10).check(value) == "must be a whole number from 1 to 10"


@pytest.mark.parametrize("value", [0, 0.0, -0.0, 1, 1.5, 2, 2.0])
def test_a_number_may_be_at_its_edges(value: float) -> None:
    assert number(0, 2).check(value) is None


@pytest.mark.parametrize(
    "value", [-1e-300, 2.0000001, 10**400, -(10**400), math.nan, math.inf, -math.inf, *NOT_A_NUMBER]
)
def test_a_number_out_of_its_range_is_refused(value: Any) -> None:
    assert number(0, 2).check(value) == "must be a number from 0 to 2"


@pytest.mark.parametrize("value", [0, 1, None, "true", [], {}])
def test_true_and_false_are_the_only_flags(value: Any) -> None:
    assert flag.check(True) is None
    assert flag.check(False) is None
    assert flag.check(value) == "must be true or false"


def test_a_text_is_as_long_as_it_may_be_and_no_longer() -> None:
    rule = text(3)
    assert rule.check("") is None
    assert rule.check("äöü") is None
    assert rule.check("four") == "must be a string of at most 3 characters"
    assert rule.check(None) == rule.check(b"abc") == rule.check(["a"]) == "must be a string of at most 3 characters"


def test_one_of_takes_the_type_into_account() -> None:
    rule = one_of(1, False, "auto")
    assert [rule.check(value) for value in (1, False, "auto")] == [None, None, None]
    assert rule.check(True) == 'must be 1 or false or "auto"'
    assert rule.check(0) is not None
    assert rule.check(1.0) is not None
    assert rule.check([]) is not None


def test_a_list_names_the_item_that_is_wrong() -> None:
    rule = many(flag, 2, least=1)
    assert rule.check([True]) is None
    assert rule.check([True, False]) is None
    assert rule.check([]) == rule.check([True] * 3) == rule.check((True,)) == "must be a list of 1 to 2 items"
    assert rule.check([True, 1]) == "item 1: must be true or false"


def test_either_gives_all_its_reasons() -> None:
    rule = either(flag, nothing)
    assert rule.check(True) is None
    assert rule.check(None) is None
    assert rule.check(0) == "must be true or false or must be null"


def test_a_table_refuses_what_it_does_not_know_and_asks_for_what_it_needs() -> None:
    rule = table({"a": flag, "b": whole(0, 1)}, "a")
    assert rule.check({"a": True}) is None
    assert rule.check({"b": 1}) == "lacks 'a'"
    assert rule.check({"a": True, "c": 1}) == "has 'c', which is not supported here"
    assert rule.check({"a": True, "b": 2}) == "'b' must be a whole number from 0 to 1"
    assert rule.check([]) == rule.check(None) == rule.check("a") == "must be an object"


def test_a_long_name_is_not_repeated_whole() -> None:
    assert len(table({}).check({"x" * 10_000: 1}) or "") < 150


def test_a_tag_says_which_rule_holds() -> None:
    cases = {"a": table({"is": text(1), "x": flag}, "x"), "b": table({"is": text(1)})}
    rule = tagged("is", cases, {"c": "there is none"}, default="b")
    assert rule.check({"is": "a", "x": True}) is None
    assert rule.check({}) is rule.check({"is": "b"}) is None
    assert rule.check({"is": "a"}) == "lacks 'x'"
    assert rule.check({"is": "c"}) == "has the is 'c', which is not supported: there is none"
    assert rule.check({"is": "d"}) == """has the is 'd' in place of "a" or "b\""""
    assert rule.check({"is": ["a"]}) == """has the is '['a']' in place of "a" or "b\""""
    assert rule.check([]) == "must be an object"
    assert tagged("is", cases, {}).check({"x": True}) == "lacks 'is'"
    assert set(rule.fields) == {'is: "a"', 'is: "b"'}


def test_labels_are_few_and_short() -> None:
    rule = labels(2, 3)
    assert rule.check({}) is rule.check({"a": "b", "c": ""}) is None
    wrongs: list[Any] = [[], {"a": 1}, {"a": "long"}, {"long": "a"}, {str(place): "" for place in range(3)}]
    for wrong in wrongs:
        assert rule.check(wrong) == "must be an object of at most 2 strings of at most 3 characters"


def test_any_json_has_a_limit_on_depth_and_on_size() -> None:
    rule = any_json(100)
    assert rule.check({}) is None
    assert rule.check(nested(32)) is None
    assert rule.check(nested(33)) == rule.check(nested(90)) == "must be nested at most 32 deep"
    assert rule.check({"a": [1] * 98}) is None
    assert rule.check({"a": [1] * 99}) == "must have at most 100 values"
    assert rule.check([]) == "must be an object"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
RULES = [
    whole(-5, 5),
    number(-1, 1),
    flag,
    nothing,
    text(2),
    one_of("a", 1, False),
    many(whole(0, 9), 2),
    either(flag, many(text(1), 3)),
    table({"a": flag, "b": text(1)}, "a"),
    any_json(6),
    tagged("a", {"x": table({"a": text(1)}), "": table({"a": text(1)})}, {"y": "no"}, default="x"),
    labels(2, 2),
]


@given(st.sampled_from(RULES), JSON)
def test_every_rule_answers_every_value_with_none_or_a_reason(rule: Rule, value: Any) -> None:
    reason = rule.check(value)
    assert reason is None or (isinstance(reason, str) and reason)


def test_rules_tell_their_words_and_the_fields_in_them() -> None:
    inner = table({"a": flag}, "a")
    rule = either(text(5), many(inner, 3, least=1), nothing)
    assert rule.words == "a string of at most 5 characters, or a list of 1 to 3 items, each an object, or null"
    assert rule.fields == {"a": flag}
    assert rule.needed == {"a"}
