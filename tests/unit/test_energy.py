"""Each second's energy goes in equal parts to the requests that were with an engine in it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from appliance.gateway.energy import EnergyMeter


class Bench:
    """A meter, a clock that is set by hand, and a machine that draws as many millijoules a second as it is told."""

    def __init__(self, power: float = 0.0) -> None:
        self.now = 100.0
        self.energy = 0.0
        self.power = power
        self.meter = EnergyMeter(lambda: self.now)
        self.meter.tick(self.now, 0)

    def run(self, seconds: float) -> None:
        """Let time pass without a reading."""
        self.now += seconds
        self.energy += self.power * seconds

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass, and read."""
        self.run(seconds)
        self.meter.tick(self.now, round(self.energy))


def test_a_call_that_was_alone_is_given_all_of_it() -> None:
    bench = Bench(power=50_000)
    bench.meter.enter(1)
    for _ in range(3):
        bench.tick()
    assert bench.meter.leave(1) == 150_000


def test_two_calls_share_equally_while_both_are_there() -> None:
    bench = Bench(power=60_000)
    bench.meter.enter(1)
    bench.tick()
    bench.meter.enter(2)
    bench.tick()
    assert bench.meter.leave(1) == 90_000
    bench.tick()
    assert bench.meter.leave(2) == 90_000


def test_a_part_of_a_second_counts_for_that_part() -> None:
    bench = Bench(power=40_000)
    bench.meter.enter(1)
    bench.tick()
    bench.run(0.25)
    # Its second is not over: the last one's power stands in.
    assert bench.meter.leave(1) == 50_000


def test_energy_of_a_machine_at_rest_is_nobodys() -> None:
    bench = Bench(power=20_000)
    bench.tick()
    bench.tick()
    bench.meter.enter(1)
    bench.power = 200_000
    bench.tick()
    assert bench.meter.leave(1) == 200_000


def test_a_short_call_after_a_rest_is_reckoned_with_the_power_of_work() -> None:
    bench = Bench(power=200_000)
    bench.meter.enter(1)
    bench.tick()
    bench.meter.leave(1)
    bench.power = 20_000
    bench.tick()
    bench.tick()
    bench.meter.enter(2)
    bench.run(0.5)
    assert bench.meter.leave(2) == 100_000


def test_what_was_not_measured_from_its_beginning_is_none_and_not_zero() -> None:
    meter = EnergyMeter()
    meter.enter(1)
    assert meter.leave(1) is None
    bench = Bench(power=10_000)
    assert bench.meter.leave(7) is None
    bench.meter.enter(1)
    bench.run(0.5)
    assert bench.meter.leave(1) is None, "no second has been measured yet"
    bench.meter.enter(2)
    bench.tick()
    bench.meter.tick(bench.now + 1, None)
    bench.meter.enter(3)
    assert bench.meter.leave(2) is bench.meter.leave(3) is None
    bench.tick()
    bench.meter.enter(4)
    bench.energy = 5
    bench.tick(0)
    assert bench.meter.leave(4) is None, "a counter that went back"


def test_the_same_reading_twice_changes_nothing() -> None:
    bench = Bench(power=10_000)
    bench.meter.enter(1)
    bench.tick()
    read_at, energy = bench.now, round(bench.energy)
    bench.run(0.5)
    bench.meter.tick(read_at, energy)
    bench.tick(0.5)
    assert bench.meter.leave(1) == 20_000


@given(
    powers=st.lists(st.integers(1_000, 1_000_000), min_size=1, max_size=12),
    stays=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), min_size=1, max_size=8),
)
def test_calls_are_given_what_was_used_while_they_were_there(powers: list[int], stays: list[tuple[int, int]]) -> None:
    """With calls that come and go at the ends of seconds, nothing is lost and nothing is given twice."""
    bench = Bench()
    spans = [(min(stay), max(stay) + 1) for stay in stays]
    given_out, busy = 0, 0
    for second, power in enumerate(powers):
        for id, (first, _) in enumerate(spans):
            if first == second:
                bench.meter.enter(id)
        there = any(first <= second < last for first, last in spans)
        busy += power if there else 0
        bench.power = power
        bench.tick()
        for id, (_, last) in enumerate(spans):
            if last == second + 1:
                given_out += bench.meter.leave(id) or 0
    for id in range(len(spans)):
        given_out += bench.meter.leave(id) or 0
    assert math.isclose(given_out, busy, abs_tol=len(spans))
