"""What the request path counts: what is in it, what is never in it, and that table, page and manual agree."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from appliance.errors import KINDS
from appliance.gateway.engine_gauges import METRICS as ENGINE_METRICS
from appliance.gateway.exposition import render
from appliance.gateway.metrics import TABLE, BudgetUse, Gauges, Metrics
from appliance.gateway.metrics_route import machine_samples
from appliance.hardware.cards import Card, Cards
from appliance.hardware.power import Reading
from appliance.ledger.entry import Opening, Outcome, Settlement
from tests.support.box import ROOT

OPENING = Opening(
    id=1, request_id="req-1", principal="anna", team="sales", key_id="key-1", endpoint="chat", priority="api",
    task=None, model_asked="chat", model="qwen", provider="", route=None, streamed=True, started_at=0,
)  # fmt: skip
SETTLEMENT = Settlement(
    prompt_tokens=100, cached_tokens=40, completion_tokens=11, exact=True, queue_ms=3, first_token_ms=120,
    total_ms=620, outcome=Outcome.COMPLETE, error=None, cost=17, avoided_cost=170, energy_mj=2500, settled_at=0, id=1,
)  # fmt: skip
READING = Reading(
    1.0,
    Cards(up=True, cards=(Card(0, True, "RTX 4090", 24, 12, 0.5, 61, 250_500, 9), Card(1, False))),
    1500,
    2500,
)


def gauges(*budgets: BudgetUse) -> Gauges:
    """Gauges at rest, but for these budgets."""
    return Gauges(lambda: {"chat": 2}, lambda: {"api": 5}, lambda: 1, lambda: budgets)


def page(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    """The page by sample and label values, as Prometheus' parser reads it; held against the table."""
    table = {metric.name: metric for metric in TABLE}
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(render(TABLE, metrics.samples()).decode()):
        # The parser takes the ending off a counter's name.
        metric = table[family.name + ("_total" if family.type == "counter" else "")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        for sample in family.samples:
            assert tuple(name for name in sample.labels if name != "le") == metric.labels
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_a_call_is_counted_in_all_that_it_was() -> None:
    metrics = Metrics(gauges())
    metrics.settled(OPENING, SETTLEMENT)
    metrics.settled(OPENING, replace(SETTLEMENT, outcome=Outcome.FAILED, error="engine-stopped"))
    found = page(metrics)
    assert found["appliance_requests_total"] == {
        ("chat", "qwen", "api", "complete"): 1,
        ("chat", "qwen", "api", "failed"): 1,
    }
    sums = {
        name: found[f"appliance_{name}_total"]
        for name in (
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "cost_microunits",
            "avoided_cost_microunits",
        )
    }
    assert [value for one in sums.values() for value in one.values()] == [200, 80, 22, 34, 340]
    assert found["appliance_call_energy_joules_total"] == {("qwen",): 5}
    assert found["appliance_call_errors_total"] == {("qwen", "engine-stopped"): 1}
    assert found["appliance_time_to_first_token_seconds_sum"] == {("chat", "qwen"): 0.24}
    # Ten gaps between eleven tokens in half a second.
    assert found["appliance_time_per_output_token_seconds_sum"] == {("chat", "qwen"): 0.1}
    assert found["appliance_time_per_output_token_seconds_count"] == {("chat", "qwen"): 2}
    assert found["appliance_request_seconds_count"] == {("chat", "qwen"): 2}
    assert found["appliance_queue_seconds_sum"] == {("qwen", "api"): 0.006}


@pytest.mark.parametrize(
    ("opening", "settlement", "counts"),
    [
        (OPENING, SETTLEMENT, (1, 1)),
        (OPENING, replace(SETTLEMENT, completion_tokens=1), (1, 0)),
        (OPENING, replace(SETTLEMENT, first_token_ms=None), (0, 0)),
        (replace(OPENING, streamed=False), SETTLEMENT, (0, 0)),
    ],
    ids=["streamed", "one token", "no token", "plain"],
)
def test_times_of_tokens_are_those_that_somebody_saw(
    opening: Opening, settlement: Settlement, counts: tuple[int, int]
) -> None:
    metrics = Metrics(gauges())
    metrics.settled(opening, settlement)
    found = page(metrics)
    assert found["appliance_time_to_first_token_seconds_count"] == {("chat", "qwen"): counts[0]}
    assert found["appliance_time_per_output_token_seconds_count"] == {("chat", "qwen"): counts[1]}


def test_refusals_begin_at_zero_for_every_code_that_the_gateway_answers_with() -> None:
    metrics = Metrics(gauges())
    metrics.refused("key-missing")
    metrics.refused("key-missing")
    found = page(metrics)["appliance_refusals_total"]
    assert set(found) == {(code,) for code, kind in KINDS.items() if kind.http}
    assert found["key-missing",] == 2
    assert sum(found.values()) == 2


def test_nobody_is_named_on_the_page() -> None:
    metrics = Metrics(gauges(BudgetUse("user", "tokens", "day", 1, 2)))
    metrics.settled(OPENING, SETTLEMENT)
    text = render(TABLE, metrics.samples()).decode()
    for word in ("anna", "sales", "key-1", "req-1"):
        assert word not in text


@given(models=st.lists(st.text(min_size=1), min_size=1, max_size=30))
def test_every_call_is_counted_whatever_its_words_are(models: list[str]) -> None:
    metrics = Metrics(gauges())
    for model in models:
        metrics.settled(replace(OPENING, model=model), SETTLEMENT)
    lines = render(TABLE, metrics.samples()).decode(errors="replace").split("\n")
    counts = [line.rpartition(" ")[2] for line in lines if line.startswith("appliance_requests_total")]
    assert sum(map(int, counts)) == len(models)


def test_more_different_calls_than_any_box_has_share_one_word() -> None:
    metrics = Metrics(gauges())
    for number in range(1_200):
        metrics.settled(replace(OPENING, model=f"m{number}"), SETTLEMENT)
    found = page(metrics)["appliance_requests_total"]
    assert len(found) == 1_001
    assert found["other", "other", "other", "complete"] == 200
    assert len(page(metrics)["appliance_request_seconds_count"]) == 1_001


def test_gauges_are_asked_when_the_page_is() -> None:
    found = page(
        Metrics(
            gauges(
                BudgetUse("user", "tokens", "day", 30, 100),
                BudgetUse("user", "tokens", "day", 120, 100),
                BudgetUse("box", "money", "month", 0, 0),
            )
        )
    )
    assert found["appliance_requests_under_way"] == {("chat",): 2}
    assert found["appliance_requests_waiting"] == {("api",): 5}
    assert found["appliance_ledger_owed_rows"] == {(): 1}
    assert found["appliance_budgets"] == {("user", "tokens", "day"): 2, ("box", "money", "month"): 1}
    assert found["appliance_budgets_spent"] == {("user", "tokens", "day"): 1, ("box", "money", "month"): 1}
    assert found["appliance_budget_use_ratio"] == {("user", "tokens", "day"): 1.2, ("box", "money", "month"): 1}


def test_the_machine_tells_what_it_knows() -> None:
    found = {name: dict(values) for name, values in machine_samples(READING).items()}
    assert found == {
        "appliance_gpu_up": {("0",): 1, ("1",): 0},
        "appliance_gpu_info": {("0", "RTX 4090"): 1},
        "appliance_gpu_memory_total_bytes": {("0",): 24},
        "appliance_gpu_memory_used_bytes": {("0",): 12},
        "appliance_gpu_utilization_ratio": {("0",): 0.5},
        "appliance_gpu_temperature_celsius": {("0",): 61},
        "appliance_gpu_power_watts": {("0",): 250.5},
        "appliance_energy_joules_total": {("gpu",): 1.5, ("cpu",): 2.5},
    }
    assert machine_samples(None) == machine_samples(Reading(1.0, None, None, None)) == {}
    broken = Reading(1.0, Cards(up=False), None, None)
    assert render(TABLE, machine_samples(broken)).decode().splitlines()[2:] == ["appliance_gpu_up 0"]


def test_table_output_and_manual_agree() -> None:
    reference = (ROOT / "docs/reference/metrics.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", reference, re.MULTILINE) == [metric.name for metric in TABLE]
    named = set(re.findall(r"\bappliance_\w+", (ROOT / "docs/metrics.md").read_text()))
    assert {name.removesuffix("_bucket") for name in named} <= {metric.name for metric in TABLE}
    metrics = Metrics(gauges(BudgetUse("user", "tokens", "day", 1, 2)))
    metrics.settled(OPENING, SETTLEMENT)
    told = {*metrics.samples(), *machine_samples(READING), *ENGINE_METRICS}
    assert told == {metric.name for metric in TABLE}


def test_names_keep_to_prometheus_conventions() -> None:
    assert len({metric.name for metric in TABLE}) == len(TABLE)
    for metric in TABLE:
        assert metric.name.startswith("appliance_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.help.endswith("."), metric.name
        assert not set(metric.labels) & {"user", "owner", "principal", "team", "key", "key_id"}, metric.name
        if metric.kind == "histogram":
            assert metric.name.endswith("_seconds")
