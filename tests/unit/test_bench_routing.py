"""The measurement of the rule of `auto` counts right, and the rule keeps what its decision record promises."""

from __future__ import annotations

from appliance.terms import RoutingTerms
from bench.routing import MOST_FALSE_SMALL, by_length, by_terms, cases, counted


def test_few_hard_prompts_go_to_the_small_model_in_either_half() -> None:
    rule = by_terms(RoutingTerms())
    for choosing in (True, False):
        half = [one for one in cases() if one.choosing is choosing]
        found = counted(half, rule)
        assert found.false_small <= MOST_FALSE_SMALL
        assert found.balanced > 0.7 > counted(half, by_length(40)).balanced


def test_rules_that_send_all_or_nothing_are_half_right() -> None:
    found = list(cases())
    large = counted(found, lambda wanted: False)
    small = counted(found, lambda wanted: True)
    assert large.balanced == small.balanced == 0.5
    assert (large.false_small, small.false_small) == (0, 1)
    assert (large.tokens_to_small, small.tokens_to_small) == (0, small.tokens)


def test_there_are_prompts_of_both_labels_in_both_halves() -> None:
    found = list(cases())
    assert len(found) > 120
    assert len({one.last for one in found if not one.wanted.fields.get("tools")}) > 140
    for label in (True, False):
        halves = [sum(one.choosing is half for one in found if one.simple is label) for half in (True, False)]
        assert min(halves) > 30
