"""Budgets: what may still be used, held before a call and put right after it.

All of it is arithmetic on integers in memory, with no await between the check and the hold: of two
calls that come at once, the second sees what the first one holds. Every budget that applies is checked
before any is touched. Instants are microseconds since 1970 UTC, money is in micro-units.

A call belongs to the window in which it started. One that outlives its window keeps that window
and is settled there, so the new one never hears of it; the ledger's rows, summed by when they
started, say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from appliance.errors import ApplianceError
from appliance.policy.budget_words import Header, limit_headers, refusal
from appliance.policy.periods import bounds
from appliance.policy.prices import FREE, Price
from appliance.policy.principals import Principal
from appliance.policy.windows import BOX, CLOUD, EACH, FOREVER, NOTHING, Budget, Crossing, Sums, Window, Windows

# An answer that could not even have this many tokens is not begun.
LEAST_ANSWER: Final = 256
_MILLION: Final = 1_000_000
_MOST_KNOWN: Final = 10_000

# The name, team, key and model of a call.
Asked = tuple[str, str, str, str]
Tell = Callable[[Crossing], None]
# A window's first instant and the one after it, by kind and period.
Spans = dict[tuple[str, str], tuple[int, int]]


class Hold:
    """What a call under way holds of every budget that applies to it; it ends with `settle` or with `release`.

    `at` is when the call started, as the ledger must have it. `max_tokens` is the cap that the answer must be given,
    None where the request has its own or needs none. `tokens` and `cost` are what is held.
    """

    __slots__ = ("_books", "_open", "asked", "at", "cost", "max_tokens", "tokens", "windows")

    def __init__(
        self, books: Books, asked: Asked, windows: Windows, at: int, tokens: int, cost: int, max_tokens: int | None
    ) -> None:
        self._books = books
        self._open = True
        self.asked = asked
        self.windows = windows
        self.at = at
        self.tokens = tokens
        self.cost = cost
        self.max_tokens = max_tokens

    def settle(self, tokens: int, cost: int) -> None:
        """Put what was held right, by what the call's row says; only the first end counts.

        In the same turn of the event loop as the row is handed to the ledger: so whoever sums the rows knows which
        calls are in them.
        """
        if not self._open:
            return
        self._open = False
        windows, marked = self.windows, False
        self._books.live.discard(self)
        unused = self.tokens - tokens
        for one in windows.tokens:
            one.left += unused
            one.used += tokens
            marked = marked or one.used >= one.mark
        unused = self.cost - cost
        for one in windows.money:
            one.left += unused
            one.used += cost
            marked = marked or one.used >= one.mark
        for one in windows.requests:
            one.used += 1
            marked = marked or one.used >= one.mark
        for one in windows.at_once:
            one.left += 1
        if marked:
            self._books.tell_of(windows)

    def release(self) -> None:
        """Give all of it back: the call has no row. Only the first end counts."""
        if self._open:
            self._open = False
            self._books.live.discard(self)
            self._give(self.windows.all(), -1)

    def headers(self) -> list[Header]:
        """The `x-ratelimit-*` headers of its answer; none where no budget of tokens or requests applies."""
        windows = self.windows
        return limit_headers(windows, self.at) if windows.tokens or windows.requests else []

    def join(self, windows: Windows) -> None:
        """Hold, late, in windows of its time that were not kept when it began."""
        mine = self.windows.all()
        new = [one for one in windows.all() if one.start <= self.at < one.end and one not in mine]
        if new:
            self._give(new, 1)
            self.windows = Windows([*mine, *new])

    def _give(self, windows: Collection[Window], sign: int) -> None:
        amounts = {"tokens": self.tokens, "money": self.cost, "requests": 1, "at_once": 1}
        for one in windows:
            one.left -= sign * amounts[one.budget.unit]


class _Rules:
    """The budgets that apply to one asker and one model, each with its name, and their windows of this moment."""

    __slots__ = ("limits", "windows")

    def __init__(self, limits: list[tuple[Budget, str]], windows: Windows) -> None:
        self.limits = limits
        self.windows = windows


class Books:
    """All budgets and what is used of them. It knows no files: whoever has the ledger calls `load`."""

    def __init__(self, answer_tokens: int, currency: str, tell: Tell, cloud: frozenset[str] = frozenset()) -> None:
        """`answer_tokens` caps an answer whose request names no cap; `tell` hears of budgets that are nearly used.

        `cloud` are the models that others run: only for their calls a budget of the kind `cloud` counts.
        """
        self._cloud = cloud
        self._answer_tokens = answer_tokens
        self._currency = currency
        self._tell = tell
        self.live: set[Hold] = set()
        self.last = 0
        # By kind, by unit and period, by subject.
        self._limits: dict[str, dict[tuple[str, str], dict[str, Budget]]] = {}
        self._windows: dict[tuple[str, str, str, str], Window] = {}
        # What the ledger's rows came to when a kind and period were loaded, and of which window they are.
        self._past: dict[tuple[str, str], tuple[int, Sums]] = {}
        self._rules: dict[Asked, _Rules] = {}

    def hold(
        self,
        who: Principal,
        model: str,
        prompt_tokens: int,
        max_tokens: int | None,
        price: Price,
        now: int,
        context: int | None = None,
    ) -> Hold:
        """Hold in every budget that applies, or in none. Raises budget-exhausted, budget-too-small or rate-limited.

        `context` is the model's, in tokens. A request without `max_tokens` under a budget of tokens or money gets a
        cap: the setting, the context or what is left, whichever is least.
        """
        # A clock that is put back a little must not lead into a window that is over.
        if now > self.last:
            self.last = now
        else:
            now = self.last
        asked = (who.name, who.team, who.key_id, model)
        rules = self._rules.get(asked)
        if rules is None:
            rules = self._find(asked, now)
        elif now >= rules.windows.until:
            rules.windows = self._current(rules.limits, now)
        windows = rules.windows
        answer, cap = max_tokens, None
        if answer is None:
            answer = self._answer_tokens
            if context is not None and context < answer:
                answer = context
            if windows.tokens or (windows.money and price.output):
                cap = answer = _room(windows, prompt_tokens, answer, price)
        tokens = prompt_tokens + answer
        cost = 0 if price is FREE else _dearest(price, prompt_tokens, answer)
        if not _fits(windows, tokens, cost):
            raise self._refusal(windows, tokens, cost, now)
        _take(windows, tokens, cost)
        held = Hold(self, asked, windows, now, tokens, cost, cap)
        self.live.add(held)
        return held

    def unknown(self, budgets: Collection[Budget], now: int) -> Spans:
        """The windows whose rows `load` needs the sums of: those of budgets that were not kept until now."""
        found: Spans = {}
        for one in budgets:
            known = self._limits.get(one.kind, {}).get((one.unit, one.period), {})
            if one.period and EACH not in known and one.subject not in known:
                found[one.kind, one.period] = bounds(one.period, max(now, self.last))
        return found

    def load(self, budgets: Collection[Budget], spans: Spans, sums: Mapping[tuple[str, str], Sums], now: int) -> None:
        """Take these budgets from now on; `sums` are those of the settled rows in the spans that `unknown` gave.

        Budgets that stay keep what is used and held. Calls under way also count in the new ones.
        """
        self.last = max(self.last, now)
        self._limits = {}
        for one in budgets:
            self._limits.setdefault(one.kind, {}).setdefault((one.unit, one.period), {})[one.subject] = one
        for key, found in sums.items():
            self._past[key] = (spans[key][0], found)
        for (kind, name, unit, period), window in list(self._windows.items()):
            budget = _of(self._limits.get(kind, {}).get((unit, period), {}), name)
            if budget is None:
                del self._windows[kind, name, unit, period]
            elif budget != window.budget:
                window.change(budget)
        self._rules.clear()
        # At once, not when they are next asked for: by then calls may have ended that no sum has.
        for hold in list(self.live):
            hold.join(self._find(hold.asked, self.last).windows)

    def current(self) -> list[Window]:
        """Every window that somebody has asked in, and that is not over."""
        return [window for window in self._windows.values() if self.last < window.end]

    def forget(self, now: int) -> None:
        """Forget all budgets, and what time it was: the clock was put back by much, so all is to be loaded anew."""
        self.last = now
        self._limits, self._windows, self._past = {}, {}, {}
        self._rules.clear()

    def tell_of(self, windows: Windows) -> None:
        """Tell of each window that has reached its mark."""
        for one in windows.all():
            if one.used >= one.mark:
                self._tell(one.crossing(100 if one.used >= one.amount else 80))

    def _find(self, asked: Asked, now: int) -> _Rules:
        """The budgets that apply to a call: of each unit and period the one for its very name, else that for each."""
        if len(self._rules) > _MOST_KNOWN:
            self._rules.clear()
        name, team, key_id, model = asked
        cloud = CLOUD if model in self._cloud else ""
        subjects = (("user", name), ("team", team), ("key", key_id), ("model", model), (BOX, BOX), (CLOUD, cloud))
        limits = [
            (budget, subject)
            for kind, subject in subjects
            for known in self._limits.get(kind, {}).values()
            if subject and (budget := _of(known, subject)) is not None
        ]
        found = self._rules[asked] = _Rules(limits, self._current(limits, now))
        return found

    def _current(self, limits: list[tuple[Budget, str]], now: int) -> Windows:
        """The windows that these budgets are in now."""
        return Windows([self._window(budget, name, now) for budget, name in limits])

    def _window(self, budget: Budget, name: str, now: int) -> Window:
        key = (budget.kind, name, budget.unit, budget.period)
        window = self._windows.get(key)
        if window is not None and now < window.end:
            return window
        start, end = bounds(budget.period, now) if budget.period else (0, FOREVER)
        past, sums = self._past.get((budget.kind, budget.period), (-1, {}))
        used = sums.get(name, NOTHING).of(budget.unit) if window is None and past == start else 0
        made = self._windows[key] = Window(budget, name, start, end, used)
        return made

    def _refusal(self, windows: Windows, tokens: int, cost: int, now: int) -> ApplianceError:
        error, window, used_up = refusal(windows, tokens, cost, now, self._currency)
        if used_up and window.mark < FOREVER and window.used * 5 >= window.amount * 4:
            self._tell(window.crossing(100))
        return error


def _of(known: dict[str, Budget], name: str) -> Budget | None:
    return known.get(name) or known.get(EACH)


def _room(windows: Windows, prompt: int, answer: int, price: Price) -> int:
    """The cap of an answer that would have `answer` tokens: what the tightest budget leaves, but no useless rest."""
    least = min(LEAST_ANSWER, answer)
    for one in windows.tokens:
        answer = min(answer, one.left - prompt)
    if price.output:
        for one in windows.money:
            answer = min(answer, (one.left * _MILLION - prompt * max(price.input, price.cached)) // price.output)
    return max(answer, least)


def _dearest(price: Price, prompt: int, answer: int) -> int:
    """The most that a call can cost."""
    return -(-(prompt * max(price.input, price.cached) + answer * price.output) // _MILLION)


def _fits(windows: Windows, tokens: int, cost: int) -> bool:
    """Whether all windows have room for a call. What costs nothing needs no money."""
    for one in windows.tokens:
        if tokens > one.left:
            return False
    for one in windows.money:
        if cost > one.left and cost:
            return False
    for one in windows.requests:
        if one.left < 1:
            return False
    return all(one.left >= 1 for one in windows.at_once) if windows.at_once else True


def _take(windows: Windows, tokens: int, cost: int) -> None:
    """Hold in all windows."""
    for one in windows.tokens:
        one.left -= tokens
    for one in windows.money:
        one.left -= cost
    for one in windows.requests:
        one.left -= 1
    for one in windows.at_once:
        one.left -= 1
