"""Prometheus' text format: what a metric is, and how numbers become the page that is scraped. Pure.

The format is version 0.0.4, which Prometheus and all that speak like it read. Formatting happens when somebody asks;
whoever counts keeps plain whole numbers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table: its name and its labels are a promise to whoever has made a dashboard of them."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


class Histogram:
    """How many values fell where. `bounds` are the buckets' inclusive upper ends, and there is one more above them.

    Values are whole numbers, of which `scale` make one of the unit that is shown: 1000 for milliseconds, shown as
    seconds.
    """

    __slots__ = ("bounds", "counts", "scale", "total")

    def __init__(self, bounds: tuple[int, ...], scale: int) -> None:
        self.bounds = bounds
        self.scale = scale
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def add(self, value: int) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


Value = int | float | Histogram
# By a metric's name: the values of its labels, in the table's order, and the number. Values may end early: a label
# that is left out is no label.
Samples = Mapping[str, Iterable[tuple[tuple[str, ...], Value]]]


def render(table: Iterable[Metric], samples: Samples) -> bytes:
    """The page: the metrics of the table, in its order, that have samples."""
    lines: list[str] = []
    for metric in table:
        found = [line for values, value in samples.get(metric.name, ()) for line in _lines(metric, values, value)]
        if found:
            lines += [f"# HELP {metric.name} {_help(metric.help)}", f"# TYPE {metric.name} {metric.kind}", *found]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _lines(metric: Metric, values: tuple[str, ...], value: Value) -> list[str]:
    labels = list(zip(metric.labels, values, strict=False))
    if not isinstance(value, Histogram):
        return [f"{metric.name}{_braces(labels)} {_number(value)}"]
    lines, below = [], 0
    ends = [*(_number(bound / value.scale) for bound in value.bounds), "+Inf"]
    for end, count in zip(ends, value.counts, strict=True):
        below += count
        lines.append(f"{metric.name}_bucket{_braces([*labels, ('le', end)])} {below}")
    total = _number(value.total / value.scale)
    return [*lines, f"{metric.name}_sum{_braces(labels)} {total}", f"{metric.name}_count{_braces(labels)} {below}"]


def _braces(labels: list[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    # Python's shortest form of a float is one that Prometheus reads; of True it would not be.
    return repr(int(value) if isinstance(value, bool) else value)


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
