"""What the request path counts for `/metrics`, and the table of all metrics with their names and labels.

No metric names a person, a team or a key, and every label has few values: what a request may say freely, such as the
name of a model that does not exist, is in none. Counting one request costs under two microseconds (it is whole
numbers in memory, and all that is text is made when somebody asks); that, and two MiB, is why this is no client
library's work (docs/decisions/0020).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.config.version import VERSION
from appliance.errors import KINDS
from appliance.gateway.exposition import Histogram, Metric, Value
from appliance.ledger.entry import Opening, Settlement

_CALL: Final = ("endpoint", "model")
_CLASS: Final = ("endpoint", "model", "priority")
_BUDGET: Final = ("kind", "unit", "period")
_ENGINE: Final = ("role", "model")

TABLE: Final = (
    Metric("appliance_requests_total", "counter", (*_CLASS, "outcome"), "Calls on record, by how they ended."),
    Metric("appliance_refusals_total", "counter", ("code",), "Requests turned away before they were calls on record."),
    Metric("appliance_call_errors_total", "counter", ("model", "code"), "Calls on record that ended with an error."),
    Metric("appliance_prompt_tokens_total", "counter", _CLASS, "Tokens of prompts, those from the cache included."),
    Metric("appliance_cached_tokens_total", "counter", _CLASS, "Tokens of prompts that the engine still knew."),
    Metric("appliance_completion_tokens_total", "counter", _CLASS, "Tokens of answers."),
    Metric("appliance_cost_microunits_total", "counter", _CLASS, "Charged, in millionths of the currency."),
    Metric(
        "appliance_avoided_cost_microunits_total", "counter", _CLASS,
        "What the same tokens would have cost at the reference price, in millionths of the currency.",
    ),
    Metric(
        "appliance_call_energy_joules_total", "counter", ("model",),
        "Energy that was shared out to calls; the rest was used while nobody asked.",
    ),
    Metric(
        "appliance_time_to_first_token_seconds", "histogram", _CALL,
        "Of streamed calls: from the request's arrival to the first token, waiting included.",
    ),
    Metric(
        "appliance_time_per_output_token_seconds", "histogram", _CALL,
        "Of streamed calls: the mean time between two tokens, one value a call.",
    ),
    Metric("appliance_request_seconds", "histogram", _CALL, "From a request's arrival to the end of its answer."),
    Metric("appliance_queue_seconds", "histogram", ("model", "priority"), "How long a call waited for its engine."),
    Metric("appliance_requests_under_way", "gauge", ("role",), "Requests on their way to an engine or being answered."),
    Metric("appliance_requests_waiting", "gauge", ("priority",), "Requests in the queue."),
    Metric("appliance_ledger_owed_rows", "gauge", (), "Ends of calls that could not be put on record yet."),
    Metric("appliance_budgets", "gauge", _BUDGET, "Budgets that are being counted in this period."),
    Metric("appliance_budgets_spent", "gauge", _BUDGET, "Of these, budgets of which nothing is left."),
    Metric("appliance_budget_use_ratio", "gauge", _BUDGET, "The most used budget's share that is used: 1 is all."),
    Metric("appliance_engine_up", "gauge", _ENGINE, "1 when the engine answers, else 0."),
    Metric("appliance_engine_slots", "gauge", _ENGINE, "Requests that the engine can work on at once."),
    Metric("appliance_engine_slots_busy", "gauge", _ENGINE, "Requests that the engine works on now, by its own count."),
    Metric("appliance_engine_deferred_requests", "gauge", _ENGINE, "Requests that wait inside the engine for a slot."),
    Metric("appliance_engine_context_tokens", "gauge", _ENGINE, "Tokens that one slot's context holds."),
    Metric(
        "appliance_engine_longest_tokens", "gauge", _ENGINE,
        "The longest conversation, prompt and answer, since the engine's start.",
    ),
    Metric(
        "appliance_engine_kv_used_ratio", "gauge", _ENGINE,
        "The share of the key-value caches that is in use; only from engines that tell it.",
    ),
    Metric("appliance_engine_prompt_tokens_total", "counter", _ENGINE, "Tokens of prompts that the engine computed."),
    Metric("appliance_engine_prompt_seconds_total", "counter", _ENGINE, "Time that this took it."),
    Metric("appliance_engine_completion_tokens_total", "counter", _ENGINE, "Tokens that the engine wrote."),
    Metric("appliance_engine_completion_seconds_total", "counter", _ENGINE, "Time that this took it."),
    Metric(
        "appliance_gpu_up", "gauge", ("gpu",),
        "1 when the graphics card answers, else 0; without a label and 0 when its driver does not work.",
    ),
    Metric("appliance_gpu_info", "gauge", ("gpu", "name"), "Always 1: the card's name."),
    Metric("appliance_gpu_memory_used_bytes", "gauge", ("gpu",), "Memory of the card that is taken."),
    Metric("appliance_gpu_memory_total_bytes", "gauge", ("gpu",), "Memory of the card."),
    Metric("appliance_gpu_utilization_ratio", "gauge", ("gpu",), "Share of the time in which the card computed."),
    Metric("appliance_gpu_temperature_celsius", "gauge", ("gpu",), "Temperature of the card."),
    Metric("appliance_gpu_power_watts", "gauge", ("gpu",), "What the card draws."),
    Metric(
        "appliance_energy_joules_total", "counter", ("source",),
        "Energy since the gateway's start: `gpu` all graphics cards, `cpu` processor and memory.",
    ),
    Metric("appliance_start_time_seconds", "gauge", (), "When the gateway started, in seconds since 1970 UTC."),
    Metric("appliance_build_info", "gauge", ("version",), "Always 1: the release."),
)  # fmt: skip

# Metrics that are sums over calls, and where the sum is kept.
_SUMS: Final = (
    ("appliance_prompt_tokens_total", "prompt"),
    ("appliance_cached_tokens_total", "cached"),
    ("appliance_completion_tokens_total", "completion"),
    ("appliance_cost_microunits_total", "cost"),
    ("appliance_avoided_cost_microunits_total", "avoided"),
)

# Buckets: the first and the time between tokens by what people feel, all else by powers of about two.
_FIRST_MS: Final = (25, 50, 100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 20_000, 60_000)
_TOKEN_US: Final = (2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 75_000, 100_000, 200_000, 500_000)
_TOTAL_MS: Final = (50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000)
_QUEUE_MS: Final = (1, 10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 900_000)

# More different calls than any box has. What comes beyond is counted together, under this word.
_MOST_KINDS: Final = 1_000
_OTHER: Final = "other"

Labels = tuple[str, ...]
Found = dict[str, Iterable[tuple[Labels, Value]]]


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How much of a budget is used: `used` of `amount`, in its unit. The words are those of the table `budget`."""

    kind: str
    unit: str
    period: str
    used: int
    amount: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """What others know at this moment: requests `under_way` by role and `waiting` by priority, rows `owed`, budgets."""

    under_way: Callable[[], Mapping[str, int]]
    waiting: Callable[[], Mapping[str, int]]
    owed: Callable[[], int]
    budgets: Callable[[], Iterable[BudgetUse]] = tuple


class _Calls:
    """The sums of calls that are alike. The histograms are shared with others that are a little less alike."""

    __slots__ = (
        "avoided",
        "cached",
        "completion",
        "cost",
        "energy",
        "first",
        "per_token",
        "prompt",
        "queue",
        "requests",
        "total",
    )  # fmt: skip

    def __init__(self, first: Histogram, per_token: Histogram, total: Histogram, queue: Histogram) -> None:
        self.requests = self.prompt = self.cached = self.completion = 0
        self.cost = self.avoided = self.energy = 0
        self.first, self.per_token, self.total, self.queue = first, per_token, total, queue


class Metrics:
    """Counts, and tells. Use it on one event loop."""

    def __init__(self, gauges: Gauges) -> None:
        self._gauges = gauges
        self._started = time.time()
        # Known codes begin at 0, so that the first of a kind is an increase too.
        self._refusals = {code: 0 for code, kind in KINDS.items() if kind.http}
        self._errors: Counter[Labels] = Counter()
        self._calls: dict[Labels, _Calls] = {}
        self._by_call: dict[Labels, tuple[Histogram, Histogram, Histogram]] = {}
        self._by_queue: dict[Labels, Histogram] = {}

    def refused(self, code: str) -> None:
        """A request was turned away before it was on record, with a code of `errors.KINDS`."""
        self._refusals[code] = self._refusals.get(code, 0) + 1

    def settled(self, opening: Opening, settlement: Settlement) -> None:
        """A call ended."""
        key = (opening.endpoint, opening.model, opening.priority, settlement.outcome)
        calls = self._calls.get(key) or self._first_of(key)
        written, total_ms = settlement.completion_tokens, settlement.total_ms
        calls.requests += 1
        calls.prompt += settlement.prompt_tokens
        calls.cached += settlement.cached_tokens
        calls.completion += written
        calls.cost += settlement.cost
        calls.avoided += settlement.avoided_cost
        calls.total.add(total_ms)
        calls.queue.add(settlement.queue_ms)
        first_ms = settlement.first_token_ms
        # Of a plain answer nobody sees the first token.
        if first_ms is not None and opening.streamed:
            calls.first.add(first_ms)
            if written > 1:
                calls.per_token.add((total_ms - first_ms) * 1000 // (written - 1))
        if settlement.energy_mj is not None:
            calls.energy += settlement.energy_mj
        if settlement.error is not None:
            self._errors[opening.model, settlement.error] += 1

    def _first_of(self, key: Labels) -> _Calls:
        """The sums for the first call of its kind."""
        if len(self._calls) >= _MOST_KINDS:
            key = (_OTHER, _OTHER, _OTHER, key[3])
            if key in self._calls:
                return self._calls[key]
        endpoint, model, priority, _ = key
        times = self._by_call.get((endpoint, model))
        if times is None:
            times = Histogram(_FIRST_MS, 1000), Histogram(_TOKEN_US, 1_000_000), Histogram(_TOTAL_MS, 1000)
            self._by_call[endpoint, model] = times
        queue = self._by_queue.setdefault((model, priority), Histogram(_QUEUE_MS, 1000))
        made = self._calls[key] = _Calls(*times, queue)
        return made

    def samples(self) -> Found:
        """Everything that was counted, and the gauges as they are now."""
        return self._counted() | self._histograms() | self._budgets() | self._now()

    def _counted(self) -> Found:
        found: Found = {"appliance_requests_total": [(key, calls.requests) for key, calls in self._calls.items()]}
        for name, attribute in _SUMS:
            sums: Counter[Labels] = Counter()
            for (endpoint, model, priority, _), calls in self._calls.items():
                sums[endpoint, model, priority] += getattr(calls, attribute)
            found[name] = list(sums.items())
        energy: Counter[Labels] = Counter()
        for key, calls in self._calls.items():
            energy[(key[1],)] += calls.energy
        found["appliance_call_energy_joules_total"] = [(key, value / 1000) for key, value in energy.items() if value]
        found["appliance_refusals_total"] = [((code,), count) for code, count in self._refusals.items()]
        found["appliance_call_errors_total"] = list(self._errors.items())
        return found

    def _histograms(self) -> Found:
        return {
            "appliance_time_to_first_token_seconds": [(key, times[0]) for key, times in self._by_call.items()],
            "appliance_time_per_output_token_seconds": [(key, times[1]) for key, times in self._by_call.items()],
            "appliance_request_seconds": [(key, times[2]) for key, times in self._by_call.items()],
            "appliance_queue_seconds": list(self._by_queue.items()),
        }

    def _budgets(self) -> Found:
        shares: dict[Labels, list[float]] = {}
        for one in self._gauges.budgets():
            # Of a budget of nothing, nothing is left.
            share = one.used / one.amount if one.amount else 1.0
            shares.setdefault((one.kind, one.unit, one.period), []).append(share)
        return {
            "appliance_budgets": [(key, len(found)) for key, found in shares.items()],
            "appliance_budgets_spent": [(key, sum(share >= 1 for share in found)) for key, found in shares.items()],
            "appliance_budget_use_ratio": [(key, max(found)) for key, found in shares.items()],
        }

    def _now(self) -> Found:
        return {
            "appliance_requests_under_way": [((role,), count) for role, count in self._gauges.under_way().items()],
            "appliance_requests_waiting": [((word,), count) for word, count in self._gauges.waiting().items()],
            "appliance_ledger_owed_rows": [((), self._gauges.owed())],
            "appliance_start_time_seconds": [((), self._started)],
            "appliance_build_info": [((VERSION,), 1)],
        }
