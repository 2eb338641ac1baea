"""Prometheus' text format, read back by Prometheus' own parser."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from appliance.gateway.exposition import Histogram, Metric, render

GAUGE = Metric("thing_bytes", "gauge", ("one", "two"), 'A "thing", with \\ and\na new line.')
TIMES = Metric("thing_seconds", "histogram", ("one",), "How long.")


@given(
    one=st.text(), two=st.text(), value=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)
)
def test_any_label_and_any_number_are_read_back_as_they_were(one: str, two: str, value: float) -> None:
    page = render([GAUGE], {"thing_bytes": [((one, two), value)]}).decode()
    (family,) = text_string_to_metric_families(page)
    (sample,) = family.samples
    assert sample.labels == {"one": one, "two": two}
    assert sample.value == value
    assert family.documentation == GAUGE.help
    assert family.type == "gauge"


@given(values=st.lists(st.integers(0, 5_000)))
def test_a_histogram_is_read_back_in_the_unit_that_is_shown(values: list[int]) -> None:
    found = Histogram((100, 250, 1000), 1000)
    for value in values:
        found.add(value)
    (family,) = text_string_to_metric_families(render([TIMES], {"thing_seconds": [(("a",), found)]}).decode())
    samples = {(sample.name, sample.labels.get("le", "")): sample.value for sample in family.samples}
    assert family.type == "histogram"
    for end, bound in (("0.1", 100), ("0.25", 250), ("1.0", 1000), ("+Inf", math.inf)):
        # A value that is the bound itself is within it.
        assert samples["thing_seconds_bucket", end] == sum(value <= bound for value in values)
    assert samples["thing_seconds_count", ""] == len(values)
    assert math.isclose(samples["thing_seconds_sum", ""], sum(values) / 1000)


def test_a_metric_without_samples_is_not_on_the_page() -> None:
    assert render([GAUGE, TIMES], {"thing_bytes": []}) == b"\n"


def test_a_label_that_is_left_out_is_no_label() -> None:
    page = render([GAUGE], {"thing_bytes": [((), 1), (("a",), 2.5)]}).decode().splitlines()[2:]
    assert page == ["thing_bytes 1", 'thing_bytes{one="a"} 2.5']
