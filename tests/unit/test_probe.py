"""The facts of this very machine are plausible, and cheap unless more is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from appliance.hardware import bandwidth
from appliance.hardware.facts import ENGINE_FLAGS
from appliance.hardware.probe import probe
from appliance.units import MIB
from tests.support.sysfs import FakeTree


def test_the_facts_of_this_machine_are_plausible(tmp_path: Path) -> None:
    found = probe(tmp_path / "not" / "yet")
    assert found.cpu_model
    assert found.cpu_flags <= ENGINE_FLAGS
    assert 1 <= found.cores <= len(os.sched_getaffinity(0))
    assert 0 < found.memory_available < found.memory <= psutil.virtual_memory().total
    assert found.numa_nodes >= 1
    assert found.disk_total is not None
    assert found.disk_free is not None
    assert 0 < found.disk_free <= found.disk_total
    assert found.memory_bandwidth is None, "measured only when asked for"


def test_without_a_folder_there_is_no_disk() -> None:
    assert probe().disk_free is None


def test_what_the_kernel_tells_is_read_from_its_files(tmp_path: Path) -> None:
    fake = FakeTree(tmp_path)
    fake.write(
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Test CPU\nflags\t\t: fpu avx2 fma\n\nprocessor\t: 1\n",
            "sys/devices/system/node/node0/cpulist": "0-7",
            "sys/devices/system/node/node1/cpulist": "8-15",
            "sys/devices/system/node/online": "0-1",
        }
    )
    found = probe(tree=fake.tree)
    assert (found.cpu_model, found.numa_nodes) == ("Test CPU", 2)
    assert found.cpu_flags == {"avx2", "fma"}


@pytest.mark.parametrize("threads", [1, 3])
def test_the_measured_speed_of_memory_is_plausible(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "_TOTAL", 96 * MIB)
    rate = bandwidth.measure(threads, available=2**40, seconds=0.02)
    # From an old laptop's single channel, on a busy day, to more than any processor of today reads.
    assert rate is not None
    assert 1e9 < rate < 5e12


def test_where_memory_is_short_nothing_is_measured() -> None:
    assert bandwidth.measure(2, available=64 * MIB) is None


def test_where_memory_is_refused_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "_TOTAL", 2**60)
    assert bandwidth.measure(1, available=2**62) is None
