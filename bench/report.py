"""From samples to a verdict: medians by peer and case, limits, the report as Markdown. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.tools import Case, Load

OURS, BARE, LITELLM = "ours", "bare", "litellm"
CHUNKS = 64
PLAIN = tuple(Case(clients) for clients in (1, 16, 64, 256))
STREAMS = tuple(Case(clients, CHUNKS) for clients in (16, 64))
LIMITED = (*PLAIN[1:3], *STREAMS)  # the cases that the limits of CPU time are about
# What the bare pass-through took on the machine for which the limits of CPU time and waiting were set.
BARE_CPU_MS, BARE_CPU_US_PER_CHUNK, BARE_ADDED_P50_MS, BARE_COLD_START_SECONDS = 0.15, 4.2, 0.20, 0.5
_HEAD = (
    "gateway",
    "CPU ms a request, 1 / 16 / 64 / 256 clients",
    "CPU us a chunk, 16 / 64",
    "added p50 / p99 ms, 1 client",
    "req/s, 16",
    "PSS MiB",
    "cold start s",
    "errors",
)


@dataclass(frozen=True)
class Limits:
    """What the gateway may cost. A run beyond any of these fails."""

    cpu_ms_per_request: float = 0.25  # plain answers, 16 and 64 clients
    cpu_us_per_chunk: float = 6.0  # streams without a delay, 16 and 64 clients
    times_litellm: float = 60.0  # LiteLLM's CPU over ours, at least, plain and streamed, 16 and 64 clients
    times_bare: float = 1.2  # our CPU over the bare pass-through's, plain and streamed, 16 clients
    added_p50_ms: float = 0.6  # plain, 1 client
    flatness: float = 1.25  # CPU a request with 256 clients over that with 16
    pss_mib: float = 64.0  # the highest of all cases
    cold_start_seconds: float = 1.5
    errors: int = 0
    growth_mib: float = 2.0  # PSS less the pages of files, after 100,000 requests over that after the first 10,000


@dataclass(frozen=True)
class Sample:
    """One case of one peer in one round, with what the engine alone did under the same load in that round."""

    peer: str
    round: int
    case: Case
    load: Load
    direct: Load
    cpu_seconds: float
    pss_mib: float

    @property
    def cpu_ms(self) -> float:
        """CPU time a request, in milliseconds."""
        return 1e3 * self.cpu_seconds / max(1, self.load.finished)

    @property
    def cpu_us_per_chunk(self) -> float:
        """CPU time an event, in microseconds; [DONE] and the other closing events count as well."""
        return 1e6 * self.cpu_seconds / max(1, self.load.events)


@dataclass(frozen=True)
class Figures:
    """One peer: its medians over the rounds by case, the highest PSS and the sum of its errors."""

    cpu_ms: Mapping[Case, float]
    cpu_us_per_chunk: Mapping[Case, float]
    rps: Mapping[Case, float]
    added_p50_ms: Mapping[Case, float]
    added_p99_ms: Mapping[Case, float]
    pss_mib: float
    cold_start_seconds: float
    errors: int


@dataclass(frozen=True)
class Check:
    """One figure beside its limit, which it may not exceed or, with `at_least`, not fall below.

    `slower` is how many times slower this machine is than the one for which the limit was set, at least 1.
    """

    name: str
    value: float
    limit: float
    at_least: bool = False
    slower: float = 1.0

    @property
    def kept(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit * self.slower


@dataclass(frozen=True)
class Table:
    """All that was measured. `absent` says of each peer that could not be measured why."""

    title: str
    titles: Mapping[str, str]
    figures: Mapping[str, Figures]
    checks: Sequence[Check]
    absent: Mapping[str, str] = field(default_factory=dict)


def summarise(samples: Sequence[Sample], cold_starts: Mapping[str, Sequence[float]]) -> dict[str, Figures]:
    """The figures of each peer, in the order of `cold_starts`, which holds the seconds of each peer's starts."""
    return {
        peer: _figures([sample for sample in samples if sample.peer == peer], seconds)
        for peer, seconds in cold_starts.items()
    }


def times(samples: Sequence[Sample], above: str, below: str, cases: Sequence[Case]) -> dict[Case, float]:
    """CPU time a request of one peer over that of another, by case: the median of the rounds' own ratios."""
    cost = {(sample.peer, sample.case, sample.round): sample.cpu_ms for sample in samples}
    rounds = {sample.round for sample in samples}
    return {
        case: median(cost[above, case, number] / max(1e-9, cost[below, case, number]) for number in rounds)
        for case in cases
    }


def check(samples: Sequence[Sample], figures: Mapping[str, Figures], limits: Limits) -> list[Check]:
    """Every figure of ours that has a limit; those against a peer only where it was measured."""
    ours, slower = figures[OURS], _slower(figures.get(BARE))
    found = [
        Check(f"CPU ms a request, {case.name}", ours.cpu_ms[case], limits.cpu_ms_per_request, slower=slower.request)
        for case in PLAIN[1:3]
    ]
    found += [
        Check(f"CPU us a chunk, {case.name}", ours.cpu_us_per_chunk[case], limits.cpu_us_per_chunk, slower=slower.chunk)
        for case in STREAMS
    ]
    found += _check_litellm(samples, [peer for peer in figures if peer.startswith(LITELLM)], limits)
    if BARE in figures:
        ratios = times(samples, OURS, BARE, (PLAIN[1], STREAMS[0]))
        found += [
            Check(f"CPU over the bare pass-through's, {case.name}", ratio, limits.times_bare)
            for case, ratio in ratios.items()
        ]
    flatness = median(_flatness(samples))
    return [
        *found,
        Check("added p50 ms, 1 client", ours.added_p50_ms[PLAIN[0]], limits.added_p50_ms, slower=slower.waiting),
        Check("CPU a request with 256 clients over that with 16", flatness, limits.flatness),
        Check("PSS MiB, the highest of all cases", ours.pss_mib, limits.pss_mib),
        Check("cold start s", ours.cold_start_seconds, limits.cold_start_seconds, slower=slower.start),
        Check("failed requests", ours.errors, limits.errors),
    ]


@dataclass(frozen=True)
class _Slower:
    """How many times slower this machine is, by kind of work, than the one for which the limits were set."""

    request: float = 1.0
    chunk: float = 1.0
    waiting: float = 1.0
    start: float = 1.0


def _slower(bare: Figures | None) -> _Slower:
    """By what the least that an ASGI process can do takes here, in the same run. A faster machine moves no limit."""
    if bare is None:
        return _Slower()
    return _Slower(
        max(1.0, bare.cpu_ms[PLAIN[1]] / BARE_CPU_MS),
        max(1.0, bare.cpu_us_per_chunk[STREAMS[0]] / BARE_CPU_US_PER_CHUNK),
        max(1.0, bare.added_p50_ms[PLAIN[0]] / BARE_ADDED_P50_MS),
        max(1.0, bare.cold_start_seconds / BARE_COLD_START_SECONDS),
    )


def _check_litellm(samples: Sequence[Sample], configurations: Sequence[str], limits: Limits) -> list[Check]:
    """Against the best of its configurations that were measured, case by case."""
    if not configurations:
        return []
    ratios = [times(samples, one, OURS, LIMITED) for one in configurations]
    return [
        Check(
            f"LiteLLM's CPU over ours, {case.name}",
            min(ratio[case] for ratio in ratios),
            limits.times_litellm,
            at_least=True,
        )
        for case in LIMITED
    ]


def check_growth(early_mib: float, late_mib: float, failed: int, limits: Limits) -> list[Check]:
    """What the long run is held against: PSS after its first requests and at its end, and its errors."""
    return [
        Check(
            f"PSS MiB grown in the long run, files apart, from {early_mib:.1f}", late_mib - early_mib, limits.growth_mib
        ),
        Check("failed requests of the long run", failed, limits.errors),
    ]


def markdown(table: Table) -> str:
    """The whole report: title, the table of peers, the table of limits."""
    lines = [
        table.title,
        "",
        *_table(_HEAD, [_cells(table.titles[peer], found) for peer, found in table.figures.items()]),
    ]
    lines += ["", *(f"Not measured: {peer}: {why}." for peer, why in table.absent.items())]
    return "\n".join([*lines, *limits_table(table.checks)]) + "\n"


def limits_table(checks: Sequence[Check]) -> list[str]:
    """The lines of a table of figures beside their limits."""
    rows = [
        (
            one.name,
            f"at {'least' if one.at_least else 'most'} {one.limit:g}{_times(one.slower)}",
            f"{one.value:.3g}" if abs(one.value) < 100 else f"{one.value:.0f}",
            "kept" if one.kept else "**BROKEN**",
        )
        for one in checks
    ]
    return _table(("what", "limit", "measured", ""), rows)


def _flatness(samples: Sequence[Sample]) -> list[float]:
    """CPU a request of ours with 256 clients over that with 16, round by round."""
    cost = {(sample.case, sample.round): sample.cpu_ms for sample in samples if sample.peer == OURS}
    rounds = {sample.round for sample in samples}
    return [cost[PLAIN[3], number] / max(1e-9, cost[PLAIN[1], number]) for number in rounds]


def _figures(samples: Sequence[Sample], cold_starts: Sequence[float]) -> Figures:
    def middle(figure: Callable[[Sample], float]) -> dict[Case, float]:
        cases = dict.fromkeys(sample.case for sample in samples)
        return {case: median(figure(sample) for sample in samples if sample.case == case) for case in cases}

    return Figures(
        cpu_ms=middle(lambda sample: sample.cpu_ms),
        cpu_us_per_chunk=middle(lambda sample: sample.cpu_us_per_chunk),
        rps=middle(lambda sample: sample.load.rps),
        added_p50_ms=middle(lambda sample: sample.load.p50 - sample.direct.p50),
        added_p99_ms=middle(lambda sample: sample.load.p99 - sample.direct.p99),
        pss_mib=max(sample.pss_mib for sample in samples),
        cold_start_seconds=median(cold_starts),
        errors=sum(sample.load.failed + sample.direct.failed for sample in samples),
    )


def _cells(title: str, found: Figures) -> tuple[str, ...]:
    return (
        title,
        " / ".join(_short(found.cpu_ms[case]) for case in PLAIN),
        " / ".join(f"{found.cpu_us_per_chunk[case]:.1f}" for case in STREAMS),
        f"{found.added_p50_ms[PLAIN[0]]:.2f} / {found.added_p99_ms[PLAIN[0]]:.2f}",
        f"{found.rps[PLAIN[1]]:.0f}",
        f"{found.pss_mib:.0f}",
        f"{found.cold_start_seconds:.2f}",
        str(found.errors),
    )


def _times(slower: float) -> str:
    return f" x {slower:.2f}" if slower > 1 else ""


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.3f}" if milliseconds < 1 else f"{milliseconds:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(head), "|" + " --- |" * len(head), *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
