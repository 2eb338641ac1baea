"""Budgets as values, and the windows that count what is used of them. Instants are microseconds since 1970 UTC."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

KINDS: Final = ("user", "team", "key", "model", "box")
UNITS: Final = ("tokens", "money", "requests", "at_once")
EACH: Final = "*"
BOX: Final = "box"
# What all models of the cloud cost together: the settings' cap, and no budget that a command sets.
CLOUD: Final = "cloud"
# No window lasts as long, and nothing is ever used up to it.
FOREVER: Final = 2**63


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit: `amount` of `unit` in each `period` (empty for `at_once`) for a `subject` of a `kind`.

    The subject `*` stands for each one of the kind that has no budget of its own for that unit and period.
    """

    kind: str
    subject: str
    unit: str
    period: str
    amount: int


@dataclass(frozen=True, slots=True)
class Sum:
    """What the settled rows of a window come to; `cost` in micro-units."""

    tokens: int = 0
    cost: int = 0
    calls: int = 0

    def of(self, unit: str) -> int:
        """The part that a budget in this unit counts."""
        return {"tokens": self.tokens, "money": self.cost, "requests": self.calls}[unit]


NOTHING: Final = Sum()
# By name.
Sums = Mapping[str, Sum]


@dataclass(frozen=True, slots=True)
class Crossing:
    """A budget that has reached 80 or 100 percent of its window, told once for each.

    It also counts as 100 when what was left was too little for a call. `name` is whose budget it is, `resets_at`
    when it starts again.
    """

    budget: Budget
    name: str
    percent: int
    used: int
    resets_at: int


class Window:
    """One budget of one name in one window: `left` is `amount` less what was `used` and what calls under way hold.

    `mark` is where `used` is next worth a word.
    """

    __slots__ = ("amount", "budget", "end", "left", "limit", "mark", "name", "start", "used")

    def __init__(self, budget: Budget, name: str, start: int, end: int, used: int) -> None:
        self.name = name
        self.start = start
        self.end = end
        self.used = used
        self.amount = used
        self.left = 0
        self.change(budget)

    def change(self, budget: Budget) -> None:
        """Take another amount; what was used and what is held stay."""
        self.budget = budget
        self.left += budget.amount - self.amount
        self.amount = budget.amount
        self.limit = b"%d" % budget.amount
        self.mark = _next_mark(budget, self.used)

    @property
    def held(self) -> int:
        """What calls under way hold."""
        return self.amount - self.used - self.left

    def crossing(self, percent: int) -> Crossing:
        """What there is to tell, once."""
        self.mark = FOREVER if percent == 100 else _next_mark(self.budget, self.used)
        return Crossing(self.budget, self.name, percent, self.used, self.end)


def _next_mark(budget: Budget, used: int) -> int:
    """The next amount that is told: 80 percent, then all. Not of minutes, which pass before anybody reads it."""
    if budget.unit == "at_once" or budget.period == "minute":
        return FOREVER
    early = -(-budget.amount * 4 // 5)
    return early if used < early else budget.amount if used < budget.amount else FOREVER


class Windows:
    """The windows that a call falls into, by unit; they are the right ones before `until`."""

    __slots__ = ("at_once", "money", "requests", "tokens", "until")

    def __init__(self, found: Collection[Window]) -> None:
        self.tokens = tuple(one for one in found if one.budget.unit == "tokens")
        self.money = tuple(one for one in found if one.budget.unit == "money")
        self.requests = tuple(one for one in found if one.budget.unit == "requests")
        self.at_once = tuple(one for one in found if one.budget.unit == "at_once")
        self.until = min((one.end for one in found), default=FOREVER)

    def all(self) -> tuple[Window, ...]:
        """All of them."""
        return (*self.tokens, *self.money, *self.requests, *self.at_once)
