"""The books of a real database: begun from the ledger, the same after every restart, refusing when in doubt."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from appliance.accounts import budgets as accounts
from appliance.accounts.books import Bookkeeper
from appliance.errors import ApplianceError
from appliance.ledger.entry import Opening, Outcome, Settlement
from appliance.ledger.sums import rows_sql, sums
from appliance.ledger.writer import LedgerWriter
from appliance.policy.budgets import Hold
from appliance.policy.periods import bounds
from appliance.policy.prices import Price
from appliance.policy.principals import Principal
from appliance.policy.windows import KINDS, Budget
from appliance.store import schema
from appliance.store.sessions import session

PRICE = Price(500_000, 100_000, 1_000_000)
ANNA = Principal("anna", "key-1", "sales")
# The middle of a day in the middle of a week.
NOON = 1_795_608_000_000_000
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without rows."""
    path = tmp_path_factory.mktemp("books") / "appliance.db"
    schema.ensure(path)
    return path


@pytest.fixture
def file(empty: Path, tmp_path: Path) -> Path:
    """A database of the test's own."""
    path = tmp_path / "appliance.db"
    path.write_bytes(empty.read_bytes())
    return path


class Gateway:
    """What the request path does with budgets, without the HTTP around it. `now` is its clock."""

    def __init__(self, path: Path, now: int) -> None:
        self.now = now
        self.ledger = LedgerWriter(path)
        self.keeper = Bookkeeper(path, self.ledger.flush, lambda crossing: None, clock=lambda: self.now)

    async def call(self, who: Principal, prompt_bytes: int, most: int | None, used: tuple[int, int]) -> Hold:
        """One call from its hold to its settled row. Raises what the budgets raise."""
        hold = self.keeper.hold(who, "smol", prompt_bytes, most, PRICE)
        await self.open(hold)
        await asyncio.sleep(0)
        await self.settle(hold, used)
        return hold

    async def open(self, hold: Hold) -> None:
        """The row of a call."""
        name, team, key_id, model = hold.asked
        self.id = self.ledger.take_id()
        opening = Opening(
            self.id, f"req-{self.id}", name, team, key_id, "chat", "api", None, "chat", model, "", None, True, hold.at
        )
        hold_ids[hold] = self.id
        await self.ledger.open(opening)

    async def settle(self, hold: Hold, used: tuple[int, int]) -> None:
        """The end of a call: hold and row in one turn."""
        cost = PRICE.cost(used[0], 0, used[1])
        row = Settlement(
            used[0], 0, used[1], True, 0, 1, 2, Outcome.COMPLETE, None, cost, 0, None, self.now, hold_ids.pop(hold)
        )
        hold.settle(sum(used), cost)
        await self.ledger.settle(row)

    def state(self) -> dict[tuple[str, str, str, str], tuple[int, int, int]]:
        """Of each window of this moment that somebody has used: its start, what is used and what is left."""
        return {
            key: (one.start, one.used, one.left)
            for key, one in self.keeper.books._windows.items()
            if one.start <= self.now < one.end
        }

    def close(self) -> None:
        """End it."""
        self.keeper.close()
        self.ledger.close()


hold_ids: dict[Hold, int] = {}


@contextmanager
def gateway(path: Path, now: int = NOON) -> Iterator[Gateway]:
    """A gateway from its start to its end."""
    made = Gateway(path, now)
    try:
        yield made
    finally:
        made.close()


def set_budgets(path: Path, *budgets: Budget) -> None:
    """What `appliance budgets set` does."""
    with session(path) as opened:
        for one in budgets:
            accounts.set_budget(opened, one)


def test_a_hundred_times_exactly_five_of_fifty_pass_with_restarts_between(file: Path) -> None:
    """Each time on a new day: a budget worth five, fifty at once, then a restart, and none is left."""
    set_budgets(file, Budget("user", "*", "tokens", "day", 1000))

    async def round_(number: int) -> int:
        with gateway(file, NOON + number * DAY) as one:
            found = await asyncio.gather(
                *(one.call(ANNA, 300, 100, (100, 100)) for _ in range(50)), return_exceptions=True
            )
        assert all(isinstance(end, Hold | ApplianceError) for end in found)
        with gateway(file, NOON + number * DAY) as one:
            with pytest.raises(ApplianceError) as refused:
                one.keeper.hold(ANNA, "smol", 3, 1, PRICE)
            assert refused.value.code == "budget-exhausted"
        return sum(isinstance(end, Hold) for end in found)

    assert [asyncio.run(round_(number)) for number in range(100)] == [5] * 100


def test_the_books_after_a_restart_are_those_before_it_and_the_sum_of_the_rows(file: Path) -> None:
    people = [ANNA, Principal("anna", "key-2"), Principal("ben", "key-3", "sales")]
    set_budgets(
        file,
        *(
            Budget(kind, "box" if kind == "box" else "*", unit, period, 10**7)
            for kind in KINDS
            for unit in ("tokens", "money", "requests")
            for period in ("minute", "day", "week", "month")
        ),
    )
    dice = random.Random(4)

    async def work(now: int) -> tuple[object, int]:
        with gateway(file, now) as one:
            for _ in range(5):
                used = (dice.randrange(300), dice.randrange(300))
                await asyncio.gather(*(one.call(dice.choice(people), 900, 300, used) for _ in range(6)))
                one.now += dice.choice([0, 20_000_000, 3600_000_000, 9 * 3600_000_000])
            for who in people:
                one.keeper.hold(who, "smol", 0, 0).release()
            return one.state(), one.now

    async def look(now: int) -> object:
        with gateway(file, now) as one:
            for who in people:
                one.keeper.hold(who, "smol", 0, 0).release()
            return one.state()

    now = NOON
    for _ in range(8):
        before, now = asyncio.run(work(now))
        assert before == asyncio.run(look(now))
    with closing(schema.connect(file)) as connection:
        for kind in KINDS:
            for period in ("day", "week", "month"):
                span = bounds(period, now)
                by_row = {str(row[0]): tuple(row[1:]) for row in connection.execute(rows_sql(kind), span)}
                assert by_row == sums(connection, kind, *span)


def test_a_budget_set_while_calls_are_under_way_counts_them_once(file: Path) -> None:
    async def scenario() -> None:
        with gateway(file) as one:
            await one.call(ANNA, 300, 100, (90, 10))
            early = one.keeper.hold(ANNA, "smol", 300, 100, PRICE)
            await one.open(early)
            late = one.keeper.hold(ANNA, "smol", 300, 100, PRICE)
            await one.open(late)
            # Settled in this very turn: the row is handed over, but not written yet.
            turning = asyncio.ensure_future(one.settle(late, (50, 50)))
            await asyncio.sleep(0)
            set_budgets(
                file, Budget("user", "anna", "tokens", "day", 1000), Budget("box", "box", "requests", "week", 9)
            )
            hold = one.keeper.hold(ANNA, "smol", 300, 100, PRICE)
            hold.release()
            await turning
            await one.settle(early, (1, 2))
            assert {key[0]: used[1:] for key, used in one.state().items()} == {"user": (203, 797), "box": (3, 6)}

    asyncio.run(scenario())


def test_a_changed_or_removed_budget_holds_from_the_next_request_on(file: Path) -> None:
    async def scenario() -> None:
        with gateway(file) as one:
            set_budgets(file, Budget("key", "*", "requests", "day", 1))
            await one.call(ANNA, 30, 10, (1, 1))
            with pytest.raises(ApplianceError, match="1 request a day is used up"):
                await one.call(ANNA, 30, 10, (1, 1))
            set_budgets(file, Budget("key", "*", "requests", "day", 2))
            await one.call(ANNA, 30, 10, (1, 1))
            with pytest.raises(ApplianceError):
                await one.call(ANNA, 30, 10, (1, 1))
            with session(file) as opened:
                accounts.remove(opened, accounts.matching(opened, "key", "*"))
            await one.call(ANNA, 30, 10, (1, 1))

    asyncio.run(scenario())


def test_a_killed_gateways_calls_count_as_requests_and_hold_nothing(file: Path) -> None:
    set_budgets(file, Budget("user", "*", "tokens", "day", 1000), Budget("user", "*", "requests", "day", 5))

    async def begin() -> None:
        with gateway(file) as one:
            await one.open(one.keeper.hold(ANNA, "smol", 300, 700, PRICE))

    async def again() -> None:
        with gateway(file) as one:
            one.keeper.hold(ANNA, "smol", 0, 0).release()
            assert {key[2]: used[1:] for key, used in one.state().items()} == {"tokens": (0, 1000), "requests": (1, 4)}

    asyncio.run(begin())
    asyncio.run(again())


def test_a_clock_put_back_by_hours_has_the_books_begin_anew(file: Path) -> None:
    set_budgets(file, Budget("user", "*", "tokens", "day", 1000))

    async def scenario() -> None:
        with gateway(file) as one:
            await one.call(ANNA, 300, 100, (300, 0))
            one.now = NOON + DAY
            await one.call(ANNA, 300, 100, (100, 0))
            one.now = NOON + 1
            hold = await one.call(ANNA, 300, 100, (100, 0))
            assert hold.at == NOON + 1
            assert list(one.state().values()) == [(bounds("day", NOON)[0], 400, 600)]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "damage",
    [
        "INSERT INTO budget VALUES ('user', 'anna', 'tokens', 'year', 5, 0)",
        "INSERT INTO budget VALUES ('user', 'anna', 'hours', 'day', 5, 0)",
        "INSERT INTO budget VALUES ('user', 'anna', 'at_once', 'day', 5, 0)",
        "INSERT INTO budget VALUES ('user', 'anna', 'tokens', 'day', -5, 0)",
        "ALTER TABLE budget RENAME TO away",
    ],
)
def test_budgets_that_cannot_be_read_let_nothing_through_until_they_can(file: Path, damage: str) -> None:
    async def scenario() -> None:
        with gateway(file) as one:
            one.keeper.hold(ANNA, "smol", 3, 1).release()
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute(damage)
            one.keeper._until = 0
            for _ in range(2):
                with pytest.raises(ApplianceError) as refused:
                    one.keeper.hold(ANNA, "smol", 3, 1)
                assert (refused.value.code, refused.value.kind.http) == ("budgets-unreadable", 503)
            with closing(sqlite3.connect(file)) as connection, connection:
                connection.execute("DELETE FROM budget" if "INSERT" in damage else "ALTER TABLE away RENAME TO budget")
            one.keeper.hold(ANNA, "smol", 3, 1).release()

    asyncio.run(scenario())
