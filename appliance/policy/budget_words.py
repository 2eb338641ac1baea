"""What people and programs are told of budgets: sentences, refusals and `x-ratelimit-*` headers."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from appliance.errors import ApplianceError
from appliance.policy import money
from appliance.policy.periods import day_of
from appliance.policy.windows import EACH, Budget, Window, Windows
from appliance.units import show_duration

Header = tuple[bytes, bytes]

# Seconds after which a request is worth another try, where that depends on others who are being answered.
_SOON_S: Final = 2
# OpenAI's clients retry on every 429, up to here: a longer wait is for people, not for programs.
_LONGEST_RETRY_S: Final = 120
_NO_RETRY: Final = (b"x-should-retry", b"false")
_NAMES: Final = {
    unit: tuple(f"x-ratelimit-{what}-{unit}".encode() for what in ("limit", "remaining", "reset"))
    for unit in ("tokens", "requests")
}
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July",
    "August", "September", "October", "November", "December",
)  # fmt: skip


def show_amount(unit: str, amount: int, currency: str) -> str:
    """So much of a unit: `20,000 tokens`, `12.50 EUR`, `4 requests`."""
    if unit == "money":
        return money.show(amount, currency)
    noun = "tokens" if unit == "tokens" else "requests"
    return f"{amount:,} {noun if amount != 1 else noun[:-1]}"


def show_limit(budget: Budget, currency: str) -> str:
    """A limit as people say it: `20,000 tokens a day`, `4 requests at once`."""
    amount = show_amount(budget.unit, budget.amount, currency)
    return f"{amount} at once" if budget.unit == "at_once" else f"{amount} a {budget.period}"


def whose(budget: Budget, name: str) -> str:
    """A budget by the one it is for: `anna's budget`, `the budget of team sales`, `the budget of this box`."""
    if name == EACH:
        return f"the budget of each {budget.kind} without one of its own"
    if budget.kind == "user":
        return f"{name}'s budget"
    one = {"box": "the budget of this box", "cloud": "this box's cap on models of the cloud"}
    return one.get(budget.kind, f"the budget of {budget.kind} {name}")


def show_reset(end: int, now: int) -> str:
    """When a window ends: `tomorrow at 00:00 UTC (in 5 h 12 min)`, `on Monday at ...`, `in 23 s`."""
    wait = _wait_s(end, now)
    if wait <= 60:
        return f"in {wait} s"
    day = day_of(end)
    if day - day_of(now) == timedelta(days=1):
        words = "tomorrow"
    else:
        words = f"on {_WEEKDAYS[day.weekday()]}, {day.day} {_MONTHS[day.month - 1]},"
    return f"{words} at 00:00 UTC (in {show_duration(wait)})"


def limit_headers(windows: Windows, now: int) -> list[Header]:
    """Of tokens and of requests, each where it is limited: the tightest limit, what is left and when it resets."""
    found: list[Header] = []
    for unit, limited in (("tokens", windows.tokens), ("requests", windows.requests)):
        if not limited:
            continue
        tightest = limited[0]
        for one in limited:
            if one.left < tightest.left:
                tightest = one
        limit, remaining, reset = _NAMES[unit]
        found += (
            (limit, tightest.limit),
            (remaining, b"%d" % tightest.left if tightest.left > 0 else b"0"),
            (reset, _span(_wait_s(tightest.end, now))),
        )
    return found


def refusal(windows: Windows, tokens: int, cost: int, now: int, currency: str) -> tuple[ApplianceError, Window, bool]:
    """Why a call is refused that needs so much: the error, the window at fault, and whether that is used up.

    Where several are at fault, the one that no wait helps; else the one that takes longest.
    """
    need = {"tokens": tokens, "money": cost, "requests": 1, "at_once": 1}
    short = [one for one in windows.all() if need[one.budget.unit] > one.left and (one.budget.unit != "money" or cost)]
    ranked = [(_rank(one, need[one.budget.unit]), one.end, place) for place, one in enumerate(short)]
    rank, _, place = max(ranked)
    window = short[place]
    wait = _SOON_S if rank == _HELD or window.budget.unit == "at_once" else _wait_s(window.end, now)
    hopeless = rank == _TOO_LARGE or wait > _LONGEST_RETRY_S
    headers = (*limit_headers(windows, now), *((_NO_RETRY,) if hopeless else ()))
    sentence, hint = _words(window, rank, need[window.budget.unit], now, currency)
    if rank == _TOO_LARGE:
        error = ApplianceError("budget-too-small", sentence, hint, retry_after_s=wait, headers=headers)
    elif rank == _HELD or window.budget.period in ("", "minute"):
        error = ApplianceError("rate-limited", sentence, hint, retry_after_s=wait, headers=headers)
    else:
        error = ApplianceError("budget-exhausted", sentence, hint, retry_after_s=wait, headers=headers)
    return error, window, rank == _USED_UP


_HELD, _USED_UP, _TOO_LARGE = range(3)


def _rank(window: Window, need: int) -> int:
    if need > window.amount:
        return _TOO_LARGE
    unit = window.budget.unit
    # A request that is under way counts, however it ends; of the tokens that it holds, some come back.
    if unit == "requests" or (unit != "at_once" and need > window.left + window.held):
        return _USED_UP
    return _HELD


def _words(window: Window, rank: int, need: int, now: int, currency: str) -> tuple[str, str]:
    """Sentence and hint."""
    budget = window.budget
    owner = whose(budget, window.name)
    limit = f"{owner} of {show_limit(budget, currency)}"
    limit = limit[0].upper() + limit[1:]
    if budget.unit == "at_once":
        return f"{limit} is reached: {window.held:,} under way, none left.", "Wait for one to end, then send it again."
    again = f"It starts again {show_reset(window.end, now)}."
    if budget.unit == "requests":
        return f"{limit} is used up: none are left. {again}", "Send it again then, or ask your admin for more."
    left = show_amount(budget.unit, max(0, window.left), currency)
    needed = f"this needs about {show_amount(budget.unit, need, currency)}"
    if rank == _TOO_LARGE:
        hint = "Ask for a shorter answer with max_tokens, shorten the conversation, or ask your admin for more."
        return f"{limit} is too small for this request: {left} left, {needed}. {again}", hint
    if rank == _HELD:
        said = f"{limit} is held by answers under way: {left} left, {needed}. {again}"
        return said, "What they do not use comes back as they end: send it again in a moment."
    return f"{limit} is used up: {left} left, {needed}. {again}", "Wait until then, or ask your admin for more."


def _wait_s(end: int, now: int) -> int:
    """Whole seconds, rounded up."""
    return -((now - end) // 1_000_000)


def _span(seconds: int) -> bytes:
    """Seconds as OpenAI writes them: `23s`, `5m0s`, `5h12m0s`."""
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return b"%ds" % rest
    hours, minutes = divmod(minutes, 60)
    return b"%dh%dm%ds" % (hours, minutes, rest) if hours else b"%dm%ds" % (minutes, rest)
