"""Prices and amounts of money: whole micro-units, exactly."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.money import parse, show
from appliance.policy.prices import FREE, Price

COUNTS = st.integers(0, 2**31 - 1)


@pytest.mark.parametrize(
    ("text", "micro"),
    [("12.50", 12_500_000), ("0", 0), ("0.000001", 1), ("1e3", 1_000_000_000), ("1000000000", 10**15)],
)
def test_an_amount_is_read_exactly(text: str, micro: int) -> None:
    assert parse(text) == micro


@pytest.mark.parametrize("text", ["", "12,50", "-1", "nan", "Infinity", "0.0000001", "1000000001", "12 EUR", "1e9999"])
def test_what_is_no_amount_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        parse(text)


@pytest.mark.parametrize(
    ("micro", "shown"),
    [
        (12_500_000, "12.50 EUR"),
        (3_100, "0.0031 EUR"),
        (0, "0.00 EUR"),
        (-1, "-0.000001 EUR"),
        (10**12, "1,000,000.00 EUR"),
    ],
)
def test_an_amount_is_shown_with_its_currency(micro: int, shown: str) -> None:
    assert show(micro, "EUR") == shown


@given(st.integers(0, 10**15))
def test_what_is_shown_can_be_read_again(micro: int) -> None:
    assert parse(show(micro, "EUR").removesuffix(" EUR").replace(",", "")) == micro


@given(st.builds(Price, *[st.integers(0, 10**9)] * 3), COUNTS, COUNTS, COUNTS)
def test_a_cost_is_the_exact_sum_rounded_up(price: Price, prompt: int, cached: int, completion: int) -> None:
    cached = min(cached, prompt)
    exact = Decimal((prompt - cached) * price.input + cached * price.cached + completion * price.output) / 10**6
    assert price.cost(prompt, cached, completion) == int(exact.to_integral_value(ROUND_CEILING))


def test_more_cached_than_read_is_taken_as_all_of_it() -> None:
    assert Price(10_000_000, 1_000_000, 0).cost(5, 9, 0) == 5
    assert FREE.cost(5, 0, 7) == 0
