"""From samples to a verdict: medians by case, limits, the report as Markdown. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.tools import Case, Load

_HEAD = (
    "case",
    "direct req/s",
    "req/s",
    "p50 ms",
    "p99 ms",
    "added p50 ms",
    "CPU ms/request",
    "bare CPU ms/request",
    "times bare",
    "CPU us/chunk",
    "PSS MiB",
    "errors",
)


@dataclass(frozen=True)
class Limits:
    """What the gateway may cost. A run above any of these fails."""

    cpu_ms_per_request: float = 0.25  # plain answers
    cpu_us_per_chunk: float = 6.0  # streams without a delay
    pss_mib: float = 60.0
    cold_start_seconds: float = 1.5
    errors: int = 0
    times_bare: float = 1.2  # CPU a request against the bare pass-through, plain and streamed
    clients: int = 16  # the two CPU limits hold at this load


@dataclass(frozen=True)
class Sample:
    """One case in one round: the same load straight to the fake engine, through the gateway and through its peer."""

    case: Case
    direct: Load
    gateway: Load
    cpu_seconds: float
    pss_mib: float
    peer: Load
    peer_cpu_seconds: float


@dataclass(frozen=True)
class Row:
    """The medians of one case over all rounds, and the sum of its errors.

    A chunk is one event of a stream, [DONE] and the other closing events included.
    """

    case: Case
    direct_rps: float
    rps: float
    p50_ms: float
    p99_ms: float
    added_p50_ms: float
    cpu_ms_per_request: float
    peer_cpu_ms_per_request: float
    times_bare: float
    cpu_us_per_chunk: float | None
    pss_mib: float
    errors: int


@dataclass(frozen=True)
class Check:
    """One figure beside its limit."""

    name: str
    value: float
    limit: float

    @property
    def kept(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit


def summarise(samples: Sequence[Sample]) -> list[Row]:
    """One row a case, in the order in which the cases first came."""
    cases = dict.fromkeys(sample.case for sample in samples)
    return [_row(case, [sample for sample in samples if sample.case == case]) for case in cases]


def check(rows: Sequence[Row], cold_start_seconds: float, limits: Limits) -> list[Check]:
    """Every figure that has a limit. The cases that the CPU limits are about must be in `rows`."""
    plain = next(row for row in rows if row.case == Case(limits.clients))
    stream = next(
        row for row in rows if row.case.chunks and not row.case.delay_ms and row.case.clients == limits.clients
    )
    at_load = f"at {limits.clients} clients"
    return [
        Check(f"CPU ms a request {at_load}", plain.cpu_ms_per_request, limits.cpu_ms_per_request),
        Check(
            f"CPU us a streamed chunk {at_load}, no delay",
            stream.cpu_us_per_chunk or 0.0,
            limits.cpu_us_per_chunk,
        ),
        Check(f"CPU of a plain answer {at_load}, times a bare pass-through", plain.times_bare, limits.times_bare),
        Check(f"CPU of a stream {at_load}, times a bare pass-through", stream.times_bare, limits.times_bare),
        Check("PSS MiB, the highest of all cases", max(row.pss_mib for row in rows), limits.pss_mib),
        Check("cold start s", cold_start_seconds, limits.cold_start_seconds),
        Check("failed requests", sum(row.errors for row in rows), limits.errors),
    ]


def markdown(title: str, rows: Sequence[Row], checks: Sequence[Check]) -> str:
    """The whole report: title, table, limits."""
    lines = [title, "", _line(_HEAD), "|" + " --- |" * len(_HEAD)]
    lines += [_line(_cells(row)) for row in rows]
    lines.append("")
    for one in checks:
        verdict = "kept" if one.kept else "**BROKEN**"
        lines.append(f"- {one.name}: {one.value:.3g} (limit {one.limit:g}): {verdict}")
    return "\n".join(lines) + "\n"


def _row(case: Case, samples: Sequence[Sample]) -> Row:
    def middle(figure: Callable[[Sample], float]) -> float:
        return median(figure(sample) for sample in samples)

    chunk = middle(lambda s: 1e6 * s.cpu_seconds / max(1, s.gateway.events))
    return Row(
        case=case,
        direct_rps=middle(lambda s: s.direct.rps),
        rps=middle(lambda s: s.gateway.rps),
        p50_ms=middle(lambda s: s.gateway.p50),
        p99_ms=middle(lambda s: s.gateway.p99),
        added_p50_ms=middle(lambda s: s.gateway.p50 - s.direct.p50),
        cpu_ms_per_request=middle(_cpu_ms),
        peer_cpu_ms_per_request=middle(_peer_cpu_ms),
        times_bare=middle(lambda s: _cpu_ms(s) / max(1e-9, _peer_cpu_ms(s))),
        cpu_us_per_chunk=chunk if case.chunks else None,
        pss_mib=middle(lambda s: s.pss_mib),
        errors=sum(s.direct.failed + s.gateway.failed + s.peer.failed for s in samples),
    )


def _cpu_ms(sample: Sample) -> float:
    return 1e3 * sample.cpu_seconds / max(1, sample.gateway.finished)


def _peer_cpu_ms(sample: Sample) -> float:
    return 1e3 * sample.peer_cpu_seconds / max(1, sample.peer.finished)


def _cells(row: Row) -> list[str]:
    return [
        row.case.name,
        f"{row.direct_rps:.0f}",
        f"{row.rps:.0f}",
        f"{row.p50_ms:.2f}",
        f"{row.p99_ms:.2f}",
        f"{row.added_p50_ms:.2f}",
        f"{row.cpu_ms_per_request:.3f}",
        f"{row.peer_cpu_ms_per_request:.3f}",
        f"{row.times_bare:.2f}",
        "" if row.cpu_us_per_chunk is None else f"{row.cpu_us_per_chunk:.1f}",
        f"{row.pss_mib:.1f}",
        str(row.errors),
    ]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
