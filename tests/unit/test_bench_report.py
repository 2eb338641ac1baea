"""What the load harness makes of given figures: medians, ratios, limits, the table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.report import (
    BARE,
    BARE_CPU_MS,
    BARE_CPU_US_PER_CHUNK,
    LITELLM,
    OURS,
    PLAIN,
    STREAMS,
    Check,
    Limits,
    Sample,
    Table,
    check,
    check_growth,
    markdown,
    summarise,
    times,
)
from bench.tools import Case, Load

LOAD = Load(finished=1000, failed=0, hung_up=0, rps=500.0, p50=2.0, p99=4.0, events=0, first_error="")
DIRECT = replace(LOAD, p50=1.5, p99=3.0)


def samples(peer: str, cpu_ms: float, us_per_chunk: float, rounds: int = 3) -> list[Sample]:
    """A peer of which every request costs so much, and every chunk of a stream of 68 events."""
    plain = [
        Sample(peer, number, case, LOAD, DIRECT, cpu_ms, 40.0 + number) for number in range(rounds) for case in PLAIN
    ]
    streamed = replace(LOAD, events=68_000)
    cost = us_per_chunk * 68_000 / 1e6
    return plain + [
        Sample(peer, number, case, streamed, DIRECT, cost, 41.0) for number in range(rounds) for case in STREAMS
    ]


def verdicts(found: list[Sample], **changed: Any) -> dict[str, bool]:
    """Which limits are kept, by the first words of their names."""
    figures = summarise(found, {peer: [1.0] for peer in dict.fromkeys(one.peer for one in found)})
    return {one.name: one.kept for one in check(found, figures, replace(Limits(), **changed))}


def test_figures_are_medians_of_the_rounds_with_the_highest_memory_and_all_errors() -> None:
    found = samples(OURS, 0.2, 5.0)
    odd = replace(found[1], cpu_seconds=9.0, load=replace(LOAD, failed=2, p50=2.8), pss_mib=50.0)
    figures = summarise([odd if one is found[1] else one for one in found], {OURS: [0.9, 0.5, 0.6]})[OURS]
    assert figures.cpu_ms[PLAIN[1]] == pytest.approx(0.2), "one round out of three does not move it"
    assert figures.cpu_us_per_chunk[STREAMS[0]] == pytest.approx(5.0)
    assert figures.added_p50_ms[PLAIN[0]] == pytest.approx(0.5)
    assert figures.added_p99_ms[PLAIN[0]] == pytest.approx(1.0)
    assert (figures.pss_mib, figures.cold_start_seconds, figures.errors) == (50.0, 0.6, 2)


def test_a_ratio_is_taken_round_by_round() -> None:
    """A machine that becomes twice as slow for a whole round does so for both."""
    slow = [
        replace(one, cpu_seconds=one.cpu_seconds * 2) if one.round == 1 else one
        for one in samples(OURS, 0.2, 5.0) + samples(LITELLM, 14.0, 700.0)
    ]
    assert times(slow, LITELLM, OURS, [PLAIN[1], STREAMS[0]]) == pytest.approx({PLAIN[1]: 70.0, STREAMS[0]: 140.0})


def test_every_limit_is_kept_by_a_gateway_that_costs_what_it_may() -> None:
    everyone = samples(OURS, 0.17, 5.0) + samples(BARE, 0.15, 4.2) + samples(LITELLM, 14.0, 700.0)
    found = verdicts(everyone)
    assert len(found) == 15
    assert all(found.values()), found


@pytest.mark.parametrize(
    ("ours", "bare", "litellm", "broken"),
    [
        ((0.17, 5.0), (0.15, 4.5), (10.0, 700.0), {"LiteLLM's CPU over ours, plain, 64 clients"}),
        ((0.19, 5.0), (0.15, 4.5), (14.0, 700.0), {"CPU over the bare pass-through's, plain, 16 clients"}),
    ],
)
def test_a_limit_is_broken_by_what_exceeds_it(
    ours: tuple[float, float], bare: tuple[float, float], litellm: tuple[float, float], broken: set[str]
) -> None:
    found = verdicts(samples(OURS, *ours) + samples(BARE, *bare) + samples(LITELLM, *litellm))
    assert broken <= {name for name, kept in found.items() if not kept}
    assert {name.split(",")[0] for name, kept in found.items() if not kept} == {name.split(",")[0] for name in broken}


def test_what_is_limited_in_time_is_broken_by_what_exceeds_it() -> None:
    names = ("CPU ms a request, plain, 16 clients", "CPU us a chunk, stream of 64, 0 ms apart, 64 clients")
    assert [verdicts(samples(OURS, 0.25, 6.0))[name] for name in names] == [True, True]
    assert [verdicts(samples(OURS, 0.26, 6.1))[name] for name in names] == [False, False]


def test_a_slower_machine_moves_the_limits_of_time_by_what_it_makes_of_the_bare_pass_through() -> None:
    names = ("CPU ms a request, plain, 16 clients", "CPU us a chunk, stream of 64, 0 ms apart, 64 clients")
    bare = samples(BARE, 2 * BARE_CPU_MS, 2 * BARE_CPU_US_PER_CHUNK)
    assert [verdicts(samples(OURS, 0.49, 11.9) + bare)[name] for name in names] == [True, True]
    assert [verdicts(samples(OURS, 0.51, 12.1) + bare)[name] for name in names] == [False, False]
    faster = samples(BARE, BARE_CPU_MS / 2, BARE_CPU_US_PER_CHUNK / 2)
    assert [verdicts(samples(OURS, 0.25, 6.0) + faster)[name] for name in names] == [True, True]
    text = markdown(Table("Today", {}, {}, [Check("what takes time", 0.5, 0.25, slower=2.5)]))
    assert "| what takes time | at most 0.25 x 2.50 | 0.5 | kept |" in text


def test_the_best_configuration_of_litellm_is_the_one_that_counts() -> None:
    found = verdicts(samples(OURS, 0.2, 5.0) + samples(LITELLM, 14.0, 700.0) + samples(f"{LITELLM}-x", 11.9, 800.0))
    assert not found["LiteLLM's CPU over ours, plain, 16 clients"]
    assert found["LiteLLM's CPU over ours, stream of 64, 0 ms apart, 16 clients"]


def test_flatness_is_the_last_case_over_the_second() -> None:
    name = "CPU a request with 256 clients over that with 16"
    found = [
        replace(one, cpu_seconds=0.249 if one.case == PLAIN[3] else one.cpu_seconds) for one in samples(OURS, 0.2, 5.0)
    ]
    assert verdicts(found)[name]
    assert not verdicts(found, flatness=1.24)[name]


def test_added_latency_memory_cold_start_and_errors_have_limits() -> None:
    found = samples(OURS, 0.2, 5.0)
    names = ["added p50 ms, 1 client", "PSS MiB, the highest of all cases", "cold start s", "failed requests"]
    broken = verdicts(found, added_p50_ms=0.49, pss_mib=41.9, cold_start_seconds=0.99, errors=-1)
    assert [name for name, kept in broken.items() if not kept] == names


def test_without_a_peer_nothing_is_said_about_it() -> None:
    assert not [name for name in verdicts(samples(OURS, 0.2, 5.0)) if "LiteLLM" in name or "bare" in name]


def test_the_long_run_may_grow_by_so_much_and_loses_nothing() -> None:
    assert [one.kept for one in check_growth(40.0, 42.0, 0, Limits())] == [True, True]
    assert [one.kept for one in check_growth(40.0, 42.1, 1, Limits())] == [False, False]


def test_one_table_shows_all_peers_and_every_limit_beside_its_figure() -> None:
    everyone = samples(OURS, 0.2, 5.0) + samples(LITELLM, 14.0, 700.0)
    figures = summarise(everyone, {OURS: [0.5], LITELLM: [12.0]})
    checks = [Check("what is low", 0.5, 0.25), Check("what is high", 70.0, 60.0, at_least=True)]
    text = markdown(Table("Today", {OURS: "ours", LITELLM: "LiteLLM 1"}, figures, checks, {"nginx": "install it"}))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows[:4]}) == 1, "a heading for each column"
    assert rows[2].startswith("| ours | 0.200 / 0.200 / 0.200 / 0.200 | 5.0 / 5.0 | 0.50 / 1.00 |")
    assert rows[3].startswith("| LiteLLM 1 | 14.0 / ")
    assert "| what is low | at most 0.25 | 0.5 | **BROKEN** |" in text
    assert "| what is high | at least 60 | 70 | kept |" in text
    assert "Not measured: nginx: install it." in text


def test_a_case_says_what_it_is() -> None:
    assert [case.name for case in (Case(1), Case(16, 64, 10))] == [
        "plain, 1 client",
        "stream of 64, 10 ms apart, 16 clients",
    ]
