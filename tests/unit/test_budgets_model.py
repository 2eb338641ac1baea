"""The books against a slow and obviously right list of calls: whatever happens, in whatever order."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule

from appliance.errors import ApplianceError
from appliance.policy.budgets import LEAST_ANSWER, Books, Hold
from appliance.policy.periods import bounds
from appliance.policy.prices import FREE, Price
from appliance.policy.principals import Principal
from appliance.policy.windows import Budget, Sum

ANSWER = 400
PEOPLE = (Principal("anna", "key-1", "sales"), Principal("anna", "key-2"), Principal("ben", "key-3", "sales"))
MODELS = ("smol", "large")
PRICES = (FREE, Price(500_000, 100_000, 1_000_000), Price(3_000_000, 4_000_000, 0))
SUBJECTS = {"user": "anna", "team": "sales", "key": "key-1", "model": "smol", "box": "box"}
SECOND = 1_000_000
STEPS = (0, SECOND, 20 * SECOND, 3600 * SECOND, 11 * 3600 * SECOND, 6 * 86_400 * SECOND)


@dataclass(eq=False)
class Made:
    """A call that passed: with a row as soon as it is settled."""

    names: dict[str, str]
    at: int
    tokens: int
    cost: int
    hold: Hold
    state: str = "live"

    def counts(self, unit: str, live: bool = True) -> int:
        """How much of a unit it takes: what it holds while it lives, then what its row says."""
        if self.state == "released" or (self.state == "live" and not live):
            return 0
        if unit == "at_once":
            return int(self.state == "live")
        return {"tokens": self.tokens, "money": self.cost, "requests": 1}[unit]


@st.composite
def budgets(draw: st.DrawFn) -> Budget:
    """A budget that some calls run into."""
    kind = draw(st.sampled_from(sorted(SUBJECTS)))
    unit = draw(st.sampled_from(["tokens", "money", "requests", "at_once"]))
    most = {"tokens": 3000, "money": 3000, "requests": 6, "at_once": 4}[unit]
    subject = SUBJECTS[kind] if kind == "box" else draw(st.sampled_from([SUBJECTS[kind], "*"]))
    period = "" if unit == "at_once" else draw(st.sampled_from(["minute", "day", "week", "month"]))
    return Budget(kind, subject, unit, period, draw(st.integers(0, most)))


class Model(RuleBasedStateMachine):
    """What the books do, and what a list of all calls says that they should."""

    calls = Bundle("calls")

    @initialize(now=st.integers(0, 2 * 365 * 86_400), found=st.lists(budgets(), max_size=6))
    def begin(self, now: int, found: list[Budget]) -> None:
        self.now = (1_790_000_000 + now) * SECOND
        self.made: list[Made] = []
        self.budgets: dict[tuple[str, str, str, str], Budget] = {}
        self.start()
        for one in found:
            self.set_budget(one)

    def start(self) -> None:
        """New books, as at a start of the gateway."""
        self.books = Books(ANSWER, "EUR", lambda crossing: None)
        self.load()

    def load(self) -> None:
        """Give the books what there is now: budgets, and the sums of the settled rows that they ask for."""
        found = list(self.budgets.values())
        spans = self.books.unknown(found, self.now)
        sums: dict[tuple[str, str], dict[str, Sum]] = {}
        for (kind, period), (start, end) in spans.items():
            rows = [one for one in self.made if one.state == "settled" and start <= one.at < end and kind in one.names]
            by_name = {name: [one for one in rows if one.names[kind] == name] for name in {r.names[kind] for r in rows}}
            sums[kind, period] = {
                name: Sum(sum(r.tokens for r in mine), sum(r.cost for r in mine), len(mine))
                for name, mine in by_name.items()
            }
        self.books.load(found, spans, sums, self.now)

    @rule(budget=budgets())
    def set_budget(self, budget: Budget) -> None:
        self.budgets[budget.kind, budget.subject, budget.unit, budget.period] = budget
        self.load()

    @rule(data=st.data())
    def remove_budget(self, data: st.DataObject) -> None:
        if self.budgets:
            del self.budgets[data.draw(st.sampled_from(sorted(self.budgets)))]
            self.load()

    @rule(step=st.sampled_from(STEPS))
    def time_passes(self, step: int) -> None:
        self.now += step

    @rule(which=st.sampled_from(["minute", "day", "week", "month"]), beyond=st.integers(-1, 0))
    def an_edge_comes(self, which: str, beyond: int) -> None:
        self.now = max(self.now, bounds(which, self.now)[1] + beyond)

    @rule(
        target=calls,
        who=st.sampled_from(PEOPLE),
        model=st.sampled_from(MODELS),
        prompt=st.integers(0, 900),
        most=st.one_of(st.none(), st.integers(0, 900)),
        price=st.sampled_from(PRICES),
        context=st.sampled_from([None, 300, 8192]),
        late=st.sampled_from([0, 0, SECOND]),
    )
    def ask(
        self, who: Principal, model: str, prompt: int, most: int | None, price: Price, context: int | None, late: int
    ) -> object:
        names = {"user": who.name, "team": who.team, "key": who.key_id, "model": model, "box": "box"}
        names = {kind: name for kind, name in names.items() if name}
        applying = self.applying(names)
        # What the clock says, unless it was put back behind what the books have seen.
        self.at = max(self.now - late, self.books.last)
        answer = self.capped(applying, names, prompt, price, context) if most is None else most
        dear = max(price.input, price.cached)
        cost = -(-(prompt * dear + answer * price.output) // 10**6)
        need = {"tokens": prompt + answer, "money": cost, "requests": 1, "at_once": 1}
        allowed = all(
            need[one.unit] <= self.left(one, names[one.kind]) or (one.unit == "money" and not cost) for one in applying
        )
        try:
            hold = self.books.hold(who, model, prompt, most, price, self.now - late, context)
        except ApplianceError as error:
            assert error.code in ("budget-exhausted", "budget-too-small", "rate-limited")
            assert error.kind.http == 429
            assert error.retry_after_s is not None and error.retry_after_s > 0
            assert not allowed
            return multiple()
        assert allowed
        assert (hold.at, hold.tokens, hold.cost) == (self.at, prompt + answer, cost)
        assert hold.max_tokens in (None, answer)
        made = Made(names, hold.at, prompt + answer, cost, hold)
        self.made.append(made)
        return made

    @rule(made=calls, tokens=st.integers(0, 2500), cost=st.integers(0, 2500))
    def settle(self, made: Made, tokens: int, cost: int) -> None:
        made.hold.settle(tokens, cost)
        if made.state == "live":
            made.tokens, made.cost, made.state = tokens, cost, "settled"

    @rule(made=calls)
    def release(self, made: Made) -> None:
        made.hold.release()
        if made.state == "live":
            made.state = "released"

    @rule()
    def restart(self) -> None:
        for one in self.made:
            if one.state == "live":
                # Swept: the row is there, and nothing was counted.
                one.tokens, one.cost, one.state = 0, 0, "settled"
        self.start()

    @invariant()
    def the_books_are_the_sum_of_the_calls(self) -> None:
        for window in self.books._windows.values():
            mine = [
                one
                for one in self.made
                if one.names.get(window.budget.kind) == window.name and window.start <= one.at < window.end
            ]
            unit = window.budget.unit
            if unit != "at_once":
                assert window.used == sum(one.counts(unit, live=False) for one in mine)
            assert window.left == window.amount - sum(one.counts(unit) for one in mine)

    def applying(self, names: dict[str, str]) -> list[Budget]:
        """The budgets that apply: the one for a name before the one for each."""
        return [
            one
            for one in self.budgets.values()
            if one.kind in names
            and (
                one.subject == names[one.kind]
                or (one.subject == "*" and (one.kind, names[one.kind], one.unit, one.period) not in self.budgets)
            )
        ]

    def left(self, budget: Budget, name: str) -> int:
        """What is left of a budget for a name when a call starts at `at`."""
        start, end = bounds(budget.period, self.at) if budget.period else (0, 2**63)
        mine = [one for one in self.made if one.names.get(budget.kind) == name and start <= one.at < end]
        return budget.amount - sum(one.counts(budget.unit) for one in mine)

    def capped(
        self, applying: list[Budget], names: dict[str, str], prompt: int, price: Price, context: int | None
    ) -> int:
        """The answer that a request without a cap gets: the longest that fits, counted down."""
        most = min(ANSWER, context or ANSWER)
        left = {one: self.left(one, names[one.kind]) for one in applying if one.unit in ("tokens", "money")}
        dear = max(price.input, price.cached)
        for answer in range(most, min(LEAST_ANSWER, most), -1):
            cost = -(-(prompt * dear + answer * price.output) // 10**6)
            if all(
                (prompt + answer if one.unit == "tokens" else cost if price.output else 0) <= max(0, room)
                for one, room in left.items()
            ):
                return answer
        return min(LEAST_ANSWER, most)


Model.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
test_model = Model.TestCase
