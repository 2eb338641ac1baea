"""Budgets: what passes, what is refused and with which words, and what is told of them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import orjson
import pytest

from appliance.errors import ApplianceError
from appliance.http.asgi import Message, Request
from appliance.http.errors import respond_error
from appliance.policy.budget_words import show_limit, whose
from appliance.policy.budgets import LEAST_ANSWER, Books, Hold
from appliance.policy.prices import FREE, Price
from appliance.policy.principals import Principal
from appliance.policy.windows import Budget, Crossing, Sum

NOW = int(datetime(2026, 11, 24, 18, 48, tzinfo=UTC).timestamp()) * 1_000_000
SECOND = 1_000_000
HOUR = 3600 * SECOND
ANNA = Principal("anna", "key-1", "sales")
BEN = Principal("ben", "key-2", "sales")
# One micro-unit a token written, half of it for each one read.
PRICE = Price(500_000, 100_000, 1_000_000)


class Desk:
    """Books with some budgets, and what they told."""

    def __init__(self, *budgets: Budget) -> None:
        self.told: list[Crossing] = []
        self.books = Books(4096, "EUR", self.told.append)
        self.set(*budgets)

    def set(self, *budgets: Budget, now: int = NOW, **used: Sum) -> None:
        """Set other budgets; `used` is what the ledger has by name, of every kind and period."""
        spans = self.books.unknown(budgets, now)
        self.books.load(budgets, spans, dict.fromkeys(spans, used), now)

    def hold(
        self,
        who: Principal = ANNA,
        prompt: int = 100,
        most: int | None = 100,
        price: Price = FREE,
        at: int = NOW,
        model: str = "smol",
        context: int | None = 8192,
    ) -> Hold:
        """A call that must pass."""
        return self.books.hold(who, model, prompt, most, price, at, context)

    def refused(
        self, who: Principal = ANNA, prompt: int = 100, most: int | None = 100, price: Price = FREE, at: int = NOW
    ) -> ApplianceError:
        """A call that must be refused; it changes nothing that is held."""
        live = set(self.books.live)
        with pytest.raises(ApplianceError) as caught:
            self.books.hold(who, "smol", prompt, most, price, at)
        assert caught.value.kind.http == 429
        assert self.books.live == live
        return caught.value


def day(amount: int, kind: str = "user", subject: str = "anna", unit: str = "tokens") -> Budget:
    """A budget for a day."""
    return Budget(kind, subject, unit, "day", amount)


def test_fifty_at_once_on_a_budget_worth_five_are_five() -> None:
    desk = Desk(day(1000))
    passed = 0
    for _ in range(50):
        try:
            desk.hold()
        except ApplianceError:
            continue
        passed += 1
    assert passed == 5


@pytest.mark.parametrize(
    "tight",
    [
        Budget("user", "anna", "tokens", "day", 199),
        Budget("team", "sales", "tokens", "week", 199),
        Budget("key", "key-1", "tokens", "month", 199),
        Budget("model", "smol", "tokens", "minute", 199),
        Budget("box", "box", "tokens", "day", 199),
        Budget("team", "*", "money", "month", 149),
        Budget("key", "*", "requests", "day", 0),
        Budget("box", "box", "at_once", "", 0),
    ],
)
def test_each_budget_that_applies_can_refuse_and_then_no_other_holds_anything(tight: Budget) -> None:
    others = [Budget(kind, "*", "tokens", "month", 10**9) for kind in ("user", "team", "key", "model")]
    desk = Desk(*others, tight)
    desk.refused(price=PRICE)
    desk.set(*others)
    held = desk.hold()
    assert [one.held for one in held.windows.all()] == [200] * 4


@pytest.mark.parametrize(
    "other",
    [
        Budget("user", "carla", "tokens", "day", 1),
        Budget("team", "lab", "tokens", "day", 1),
        Budget("key", "key-9", "tokens", "day", 1),
        Budget("model", "large", "tokens", "day", 1),
    ],
)
def test_budgets_of_others_do_not_matter(other: Budget) -> None:
    assert Desk(other).hold().windows.all() == ()


def test_nobody_without_a_team_shares_one_with_the_others_without() -> None:
    assert Desk(Budget("team", "*", "tokens", "day", 1)).hold(Principal("x", "k")).windows.all() == ()


def test_a_budget_for_each_counts_for_each_and_gives_way_to_one_of_their_own() -> None:
    desk = Desk(day(250, subject="*"), day(450))
    desk.hold(BEN)
    assert desk.refused(BEN).sentence.startswith("Ben's budget of 250 tokens a day is held")
    desk.hold()
    desk.hold()
    assert "Anna's budget of 450" in desk.refused().sentence


def test_settling_counts_what_was_used_and_gives_the_rest_back_once() -> None:
    desk = Desk(day(1000), day(1000, unit="money"), day(9, unit="requests"), Budget("user", "anna", "at_once", "", 3))
    held = desk.hold(price=PRICE)
    assert (held.tokens, held.cost, held.max_tokens) == (200, 150, None)
    held.settle(150, 70)
    held.settle(1, 1)
    held.release()
    windows = held.windows.all()
    assert [one.used for one in windows] == [150, 70, 1, 0]
    assert [one.left for one in windows] == [850, 930, 8, 3]


def test_a_release_gives_all_of_it_back_once() -> None:
    desk = Desk(day(1000), day(1000, unit="money"), day(9, unit="requests"), Budget("user", "anna", "at_once", "", 3))
    held = desk.hold(price=PRICE)
    held.release()
    held.release()
    held.settle(5, 5)
    assert [one.left for one in held.windows.all()] == [1000, 1000, 9, 3]
    assert [one.used for one in held.windows.all()] == [0, 0, 0, 0]


def test_a_call_that_outlives_its_window_is_settled_in_that_one() -> None:
    desk = Desk(Budget("user", "anna", "tokens", "minute", 200), Budget("user", "anna", "requests", "minute", 1))
    edge = NOW + 60 * SECOND
    early = desk.hold(at=edge - 1)
    desk.refused(at=edge - 1)
    late = desk.hold(at=edge)
    early.settle(200, 0)
    assert [one.left for one in late.windows.all()] == [0, 0]
    assert [one.used for one in late.windows.all()] == [0, 0]
    assert [one.used for one in early.windows.all()] == [200, 1]


def test_a_clock_put_back_a_little_does_not_lead_into_the_window_before() -> None:
    desk = Desk(Budget("user", "anna", "tokens", "minute", 200))
    edge = NOW + 60 * SECOND
    desk.hold(at=edge).settle(0, 0)
    assert desk.hold(at=edge - SECOND).at == edge


def test_without_a_cap_of_its_own_an_answer_gets_one_only_under_a_budget() -> None:
    assert Desk().hold(most=None).max_tokens is None
    assert Desk(day(9, unit="requests")).hold(most=None).max_tokens is None
    assert Desk(day(10**6)).hold(most=None).max_tokens == 4096
    assert Desk(day(10**6)).hold(most=None, context=512).max_tokens == 512
    assert Desk(day(1000)).hold(most=None).max_tokens == 900
    assert Desk(day(1000, unit="money")).hold(most=None, price=PRICE).max_tokens == 950
    assert Desk(day(1000, unit="money")).hold(most=None, price=FREE).max_tokens is None
    assert Desk(day(1000)).hold(most=0).tokens == 100


def test_an_answer_that_could_not_be_of_use_is_not_begun() -> None:
    assert Desk(day(100 + LEAST_ANSWER)).hold(most=None).max_tokens == LEAST_ANSWER
    assert Desk(day(99 + LEAST_ANSWER)).refused(most=None).code == "budget-too-small"


def test_what_costs_nothing_needs_no_money() -> None:
    desk = Desk(day(0, unit="money"))
    desk.hold(price=FREE).settle(5, 0)
    assert desk.refused(price=PRICE).sentence == (
        "Anna's budget of 0.00 EUR a day is too small for this request: 0.00 EUR left,"
        " this needs about 0.00015 EUR. It starts again tomorrow at 00:00 UTC (in 5 h 12 min)."
    )


def test_a_prompt_denser_than_its_estimate_overruns_by_no_more_than_that() -> None:
    desk = Desk(day(200))
    held = desk.hold()
    held.settle(230, 0)
    assert held.windows.tokens[0].left == -30
    assert desk.refused(prompt=0, most=0).sentence.startswith(
        "Anna's budget of 200 tokens a day is used up: 0 tokens left"
    )


def test_a_refusal_says_which_limit_how_much_is_left_and_when_it_starts_again() -> None:
    desk = Desk(day(20_000))
    desk.hold(prompt=100, most=19_588).settle(19_688, 0)
    error = desk.refused(prompt=200, most=1000)
    assert error.sentence == (
        "Anna's budget of 20,000 tokens a day is used up: 312 tokens left, this needs about 1,200 tokens."
        " It starts again tomorrow at 00:00 UTC (in 5 h 12 min)."
    )
    assert (error.code, error.kind.type, error.retry_after_s) == ("budget-exhausted", "insufficient_quota", 18_720)
    assert error.headers == (
        (b"x-ratelimit-limit-tokens", b"20000"),
        (b"x-ratelimit-remaining-tokens", b"312"),
        (b"x-ratelimit-reset-tokens", b"5h12m0s"),
        (b"x-should-retry", b"false"),
    )


def test_a_limit_by_the_minute_is_one_to_come_again_for() -> None:
    desk = Desk(Budget("key", "key-1", "requests", "minute", 2), Budget("box", "box", "tokens", "minute", 10**6))
    desk.hold(at=NOW + 37 * SECOND)
    desk.hold(at=NOW + 37 * SECOND)
    error = desk.refused(at=NOW + 37 * SECOND + 1)
    assert error.sentence == (
        "The budget of key key-1 of 2 requests a minute is used up: none are left. It starts again in 23 s."
    )
    assert (error.code, error.kind.type, error.retry_after_s) == ("rate-limited", "rate_limit_error", 23)
    assert error.headers == (
        (b"x-ratelimit-limit-tokens", b"1000000"),
        (b"x-ratelimit-remaining-tokens", b"999600"),
        (b"x-ratelimit-reset-tokens", b"23s"),
        (b"x-ratelimit-limit-requests", b"2"),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"23s"),
    )


def test_a_limit_that_no_minute_can_meet_is_none_to_come_again_for() -> None:
    desk = Desk(Budget("box", "box", "tokens", "minute", 199))
    error = desk.refused()
    assert (error.code, error.kind.type) == ("budget-too-small", "insufficient_quota")
    assert (b"x-should-retry", b"false") in error.headers


def test_what_only_waits_for_others_is_one_to_come_again_for_too() -> None:
    desk = Desk(Budget("team", "sales", "tokens", "month", 300), Budget("user", "*", "at_once", "", 1))
    desk.hold()
    error = desk.refused(BEN)
    assert (error.code, error.retry_after_s) == ("rate-limited", 2)
    assert error.sentence == (
        "The budget of team sales of 300 tokens a month is held by answers under way: 100 tokens left,"
        " this needs about 200 tokens. It starts again on Tuesday, 1 December, at 00:00 UTC (in 6 d 5 h)."
    )
    desk.set(Budget("user", "*", "at_once", "", 1))
    assert desk.refused().sentence == "Anna's budget of 1 request at once is reached: 1 under way, none left."


def test_of_several_that_refuse_the_one_is_named_that_takes_longest() -> None:
    desk = Desk(day(200), Budget("team", "sales", "tokens", "month", 200), Budget("key", "*", "at_once", "", 0))
    assert "key key-1 of 0 requests at once" in desk.refused().sentence
    desk.set(day(200), Budget("team", "sales", "tokens", "month", 200))
    desk.hold().settle(200, 0)
    assert "team sales" in desk.refused().sentence
    assert desk.refused(prompt=500).code == "budget-too-small"


def test_a_refusal_leaves_the_gateway_in_openais_shape_with_its_headers() -> None:
    error = Desk(day(199)).refused()
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    asyncio.run(respond_error(send, Request({"headers": []}, receive, "req-1"), error))
    head, body = sent
    assert head["status"] == 429
    assert (b"retry-after", b"18720") in head["headers"]
    assert (b"x-ratelimit-remaining-tokens", b"199") in head["headers"]
    said = orjson.loads(body["body"])["error"]
    assert (said["type"], said["code"]) == ("insufficient_quota", "budget-too-small")
    assert said["message"].startswith(
        "Anna's budget of 199 tokens a day is too small for this request: 199 tokens left"
    )


def test_headers_tell_the_tightest_limit() -> None:
    desk = Desk(day(1000), Budget("box", "box", "tokens", "minute", 300), day(5, unit="requests"))
    assert desk.hold().headers() == [
        (b"x-ratelimit-limit-tokens", b"300"),
        (b"x-ratelimit-remaining-tokens", b"100"),
        (b"x-ratelimit-reset-tokens", b"1m0s"),
        (b"x-ratelimit-limit-requests", b"5"),
        (b"x-ratelimit-remaining-requests", b"4"),
        (b"x-ratelimit-reset-requests", b"5h12m0s"),
    ]
    assert Desk().hold().headers() == []
    assert Desk(day(5, unit="money")).hold().headers() == []


def test_eighty_and_a_hundred_percent_are_told_once_each_window() -> None:
    desk = Desk(day(1000))
    for _ in range(4):
        desk.hold().settle(199, 0)
    assert desk.told == []
    desk.hold(prompt=4).settle(4, 0)
    desk.hold(prompt=50).settle(50, 0)
    assert [(one.name, one.percent, one.used) for one in desk.told] == [("anna", 80, 800)]
    desk.hold(prompt=50).settle(150, 0)
    desk.refused()
    assert [one.percent for one in desk.told] == [80, 100]
    assert desk.told[-1].resets_at == NOW + 5 * HOUR + 720 * SECOND
    desk.hold(at=NOW + 6 * HOUR, most=900).settle(900, 0)
    assert [one.percent for one in desk.told] == [80, 100, 80]


def test_a_rest_too_small_for_a_call_is_told_as_used_up() -> None:
    desk = Desk(day(1000))
    desk.hold(most=800).settle(900, 0)
    desk.refused()
    desk.refused()
    assert [(one.percent, one.used) for one in desk.told] == [(80, 900), (100, 900)]


def test_minutes_are_not_told() -> None:
    desk = Desk(Budget("user", "anna", "tokens", "minute", 200))
    desk.hold().settle(200, 0)
    desk.refused()
    assert desk.told == []


def test_a_restart_tells_nothing_again() -> None:
    desk = Desk()
    desk.set(day(1000), anna=Sum(tokens=850))
    desk.hold(prompt=0).settle(10, 0)
    assert desk.told == []
    desk.hold(prompt=0, most=140).settle(140, 0)
    assert [one.percent for one in desk.told] == [100]


def test_a_new_budget_begins_with_what_the_ledger_has_and_what_is_under_way() -> None:
    desk = Desk()
    early, other = desk.hold(), desk.hold(BEN)
    desk.set(day(1000), day(10, unit="requests"), Budget("user", "*", "at_once", "", 2), anna=Sum(500, 0, 3))
    tokens, requests, at_once = desk.hold().windows.all()
    assert (tokens.used, tokens.held, requests.used, requests.held, at_once.held) == (500, 400, 3, 2, 2)
    desk.refused()
    early.settle(100, 0)
    other.settle(9, 9)
    assert (tokens.used, tokens.left, requests.used, requests.left, at_once.left) == (600, 200, 4, 5, 1)


def test_a_changed_budget_keeps_what_is_used_and_held() -> None:
    desk = Desk(day(1000))
    desk.hold().settle(200, 0)
    held = desk.hold()
    desk.set(day(450))
    window = held.windows.tokens[0]
    assert (window.used, window.held, window.left) == (200, 200, 50)
    desk.set(day(100))
    assert window.left == -300
    assert desk.refused().code == "budget-too-small"


def test_a_budget_that_was_away_begins_with_the_ledger_again() -> None:
    desk = Desk(day(1000))
    held = desk.hold()
    desk.set()
    desk.hold().settle(200, 0)
    desk.set(day(1000), anna=Sum(tokens=200))
    held.settle(50, 0)
    window = desk.hold().windows.tokens[0]
    assert (window.used, window.held) == (250, 200)


def test_words_for_limits() -> None:
    assert show_limit(Budget("user", "a", "money", "month", 12_500_000), "EUR") == "12.50 EUR a month"
    assert show_limit(Budget("user", "a", "tokens", "week", 1), "EUR") == "1 token a week"
    assert whose(Budget("box", "box", "tokens", "day", 1), "box") == "the budget of this box"
    assert whose(Budget("team", "*", "tokens", "day", 1), "*") == "the budget of each team without one of its own"
