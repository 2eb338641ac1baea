"""What tokens cost, to the micro-unit, held against exact fractions."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.load import parse
from appliance.config.paths import find_home
from appliance.config.settings import Settings
from appliance.control.service import service_of
from appliance.errors import ApplianceError
from appliance.policy.prices import FREE, Price, PriceTable
from appliance.policy.routing import Rules
from appliance.terms import PriceRow, RoutingTerms
from tests.support.box import Box

AMOUNT = st.integers(0, 10**12 - 1)
TOKENS = st.integers(0, 2**31)
FILE = Path("appliance.toml")


def instant(day: str) -> int:
    """Noon of a day in UTC, in microseconds since 1970."""
    return int(datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC).timestamp()) * 1_000_000


@given(AMOUNT, AMOUNT, AMOUNT, TOKENS, TOKENS, TOKENS)
def test_a_cost_is_exact_and_rounded_up_once(
    input: int, cached: int, output: int, prompt: int, again: int, completion: int
) -> None:
    again = min(again, prompt)
    exact = Fraction(input, 10**6) * (prompt - again) + Fraction(cached, 10**6) * again
    exact += Fraction(output, 10**6) * completion
    assert Price(input, cached, output).cost(prompt, again, completion) == math.ceil(exact)


@given(AMOUNT, TOKENS, st.integers(0, 10**6))
def test_a_share_is_exact_and_rounded_up(amount: int, tokens: int, share: int) -> None:
    part = Price(amount, amount, amount).share(share)
    assert part.input == part.cached == part.output == math.ceil(Fraction(amount * share, 10**6))


def test_more_cached_than_prompt_is_all_of_the_prompt_and_nothing_is_free() -> None:
    price = Price(2_000_000, 1_000_000, 4_000_000)
    assert price.cost(10, 99, 0) == price.cost(10, 10, 0) == 10
    assert price.cost(0, 0, 0) == 0
    assert Price(1, 1, 1).cost(1, 0, 0) == 1
    assert FREE.cost(10**9, 0, 10**9) == 0


TABLE = PriceTable(
    [
        PriceRow("*", "2026-01-01", 10, 10, 10),
        PriceRow("chat", "2026-03-01", 20, 20, 20, 500_000),
        PriceRow("big", "2026-06-01", 30, 30, 30),
        PriceRow("big", "2026-09-01", 41, 41, 41, 500_000),
    ]
)


@pytest.mark.parametrize(
    ("model", "role", "day", "input"),
    [
        ("big", "chat", "2025-12-31", 0),
        ("big", "chat", "2026-01-01", 10),
        ("big", "chat", "2026-02-28", 10),
        ("big", "chat", "2026-03-01", 20),
        ("big", "chat", "2026-06-01", 30),
        ("big", "chat", "2026-08-31", 30),
        ("big", "chat", "2027-01-01", 41),
        ("other", "chat", "2027-01-01", 20),
        ("tiny", "small", "2027-01-01", 10),
    ],
)
def test_the_price_of_the_day_is_by_id_then_role_then_star(model: str, role: str, day: str, input: int) -> None:
    assert TABLE.at(model, role, instant(day)).input == input
    assert TABLE.at(model, role, instant(day)).input == input


def test_a_day_begins_at_midnight_in_utc_and_going_back_is_right_too() -> None:
    midnight = instant("2026-09-01") - 12 * 3_600_000_000
    for _ in range(2):
        assert TABLE.at("big", "chat", midnight - 1).input == 30
        assert TABLE.at("big", "chat", midnight).input == 41


def test_batches_pay_their_share() -> None:
    assert TABLE.at("big", "chat", instant("2026-10-01"), batch=True) == Price(21, 21, 21)
    assert TABLE.at("big", "chat", instant("2026-07-01"), batch=True) == Price(30, 30, 30)
    assert TABLE.at("x", "chat", instant("2026-04-01"), batch=True) == Price(10, 10, 10)
    assert PriceTable([]).at("big", "chat", 0) == FREE


@given(st.lists(st.tuples(st.sampled_from(["*", "chat", "big"]), st.dates(date(1970, 1, 1))), unique=True))
def test_the_latest_day_that_has_come_holds(rows: list[tuple[str, date]]) -> None:
    table = PriceTable(PriceRow(name, day.isoformat(), place, 0, 0) for place, (name, day) in enumerate(rows))
    today = date(2026, 6, 1)
    by_name = {name: [(day, place) for place, (one, day) in enumerate(rows) if one == name and day <= today]
               for name in ("big", "chat", "*")}  # fmt: skip
    expected = next((max(found)[1] for found in by_name.values() if found), 0)
    assert table.at("big", "chat", instant("2026-06-01")).input == expected


TEXT = """
[routing]
small_turns = 5
small_words = ["traduis"]
shadow = true

[[prices]]
model = "chat"
from = 2026-01-01
input = "0.15"
cached = "0.075"
output = "0.6"
batch_share = "0.5"

[[prices]]
from = 2026-02-01
input = "999999.999999"

[[reference_prices]]
input = "2.5"
output = "10"
"""


def test_settings_become_exact_terms() -> None:
    found = parse(TEXT, FILE)
    assert [one.row() for one in found.prices] == [
        PriceRow("chat", "2026-01-01", 150_000, 75_000, 600_000, 500_000),
        PriceRow("*", "2026-02-01", 999_999_999_999, 999_999_999_999, 0),
    ]
    assert [one.row() for one in found.reference_prices] == [
        PriceRow("*", "1970-01-01", 2_500_000, 2_500_000, 10_000_000)
    ]
    terms = found.routing.terms()
    assert (terms.small_turns, terms.small_words, terms.shadow, terms.fallback) == (5, ("traduis",), True, True)
    assert Settings().routing.terms() == RoutingTerms()
    assert "traduis:" in Rules(terms).words


def test_the_request_path_is_told_of_them(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.configure('[engines.chat]\nurl = "http://127.0.0.1:1/v1"\nmodel = "x"\n' + TEXT)
    settings = parse(box.config.read_text(), FILE)
    service = service_of(find_home(box.config, box.state), settings, None)
    assert service.routing == settings.routing.terms()
    assert [row.input for row in service.prices] == [150_000, 999_999_999_999]
    assert len(service.reference_prices) == 1


@pytest.mark.parametrize(
    ("text", "code", "line", "name"),
    [
        ("[routing]\nsmal_turns = 1\n", "config-unknown-key", 2, "routing.smal_turns"),
        ("[routing]\nsmall_turns = 0\n", "config-bad-value", 2, "routing.small_turns"),
        ("[routing]\nshadow = 1\n", "config-bad-value", 2, "routing.shadow"),
        ('[routing]\nsmall_words = ["two words"]\n', "config-bad-value", 2, "routing.small_words"),
        ("[[prices]]\n[[prices]]\n\ninput = 0.15\n", "config-bad-value", 4, "prices.input"),
        ('[[prices]]\ninput = "0,15"\n', "config-bad-value", 2, "prices.input"),
        ('[[prices]]\ninput = "0.1234567"\n', "config-bad-value", 2, "prices.input"),
        ('[[prices]]\ninput = "-1"\n', "config-bad-value", 2, "prices.input"),
        ('[[prices]]\ncached = "1e3"\n', "config-bad-value", 2, "prices.cached"),
        ('[[prices]]\nbatch_share = "1.5"\n', "config-bad-value", 2, "prices.batch_share"),
        ('[[prices]]\nfrom = "2026-01-01"\n', "config-bad-value", 2, "prices.from"),
        ("[[prices]]\nfrom = 2026-01-01T00:00:00\n", "config-bad-value", 2, "prices.from"),
        ('[[prices]]\n[[prices]]\ninptu = "1"\n', "config-unknown-key", 3, "prices.inptu"),
        ("[[prices]]\nsince = 2026-01-01\n", "config-unknown-key", 2, "prices.since"),
        ('[[prices]]\nmodel = "a"\n[[prices]]\nmodel = "a"\n', "config-bad-value", 1, "prices"),
        ('[[reference_prices]]\noutput = ""\n', "config-bad-value", 2, "reference_prices.output"),
        ("[prices]\n", "config-bad-value", 1, "prices"),
    ],
)
def test_a_mistake_is_told_by_line_and_name(text: str, code: str, line: int, name: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        parse(text, FILE)
    assert caught.value.code == code
    assert f"line {line}:" in caught.value.sentence
    assert f"'{name}'" in caught.value.sentence


def test_the_nearest_key_of_a_list_of_tables_is_named() -> None:
    with pytest.raises(ApplianceError) as caught:
        parse('[[prices]]\nbatch_shar = "1"\n', FILE)
    assert caught.value.hint == "Did you mean 'batch_share'?"
