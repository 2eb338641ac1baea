"""Memory is what the tightest cgroup around us leaves, in both versions, and the host's where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.hardware.cgroup import Limit, cores_within, memory_limits, within
from tests.support.sysfs import FakeTree

GIB = 2**30
HOST = (64 * GIB, 50 * GIB)


@pytest.fixture
def fake(tmp_path: Path) -> FakeTree:
    return FakeTree(tmp_path)


def v2(fake: FakeTree, path: str, most: object, used: int, stat: str = "") -> None:
    """The memory files of one cgroup of version 2."""
    folder = f"sys/fs/cgroup/{path}".rstrip("/")
    fake.write({f"{folder}/memory.max": most, f"{folder}/memory.current": used, f"{folder}/memory.stat": stat})


def v1(fake: FakeTree, path: str, most: int, used: int, stat: str = "") -> None:
    """The memory files of one cgroup of version 1."""
    folder = f"sys/fs/cgroup/memory/{path}".rstrip("/")
    names = {"memory.limit_in_bytes": most, "memory.usage_in_bytes": used, "memory.stat": stat}
    fake.write({f"{folder}/{name}": value for name, value in names.items()})


def test_without_cgroups_memory_is_the_hosts(fake: FakeTree) -> None:
    assert within(*HOST, fake.tree) == HOST
    fake.write({"proc/self/cgroup": "0::/"})
    assert within(*HOST, fake.tree) == HOST
    fake.write({"proc/self/cgroup": "nonsense\n\n0::"})
    assert within(*HOST, fake.tree) == HOST


def test_v2_takes_the_tightest_of_all_that_we_lie_in(fake: FakeTree) -> None:
    fake.write({"proc/self/cgroup": "0::/system.slice/box.service/inner"})
    v2(fake, "system.slice/box.service/inner", "max", GIB)
    v2(fake, "system.slice/box.service", 16 * GIB, 4 * GIB)
    v2(fake, "system.slice", 32 * GIB, 30 * GIB)
    v2(fake, "system.slice/another", GIB, 0)
    assert memory_limits(fake.tree) == [Limit(16 * GIB, 4 * GIB), Limit(32 * GIB, 30 * GIB)]
    assert within(*HOST, fake.tree) == (16 * GIB, 2 * GIB), "total and available may come from different ones"


def test_v2_in_a_container_reads_the_root_of_its_mount(fake: FakeTree) -> None:
    v2(fake, "", 8 * GIB, 3 * GIB)
    for path in ("/", "/docker/0123", "/../other"):
        fake.write({"proc/self/cgroup": f"0::{path}"})
        assert within(*HOST, fake.tree) == ((8 * GIB, 5 * GIB) if ".." not in path else HOST)


def test_a_model_file_that_was_read_does_not_count_as_used(fake: FakeTree) -> None:
    fake.write({"proc/self/cgroup": "0::/box"})
    v2(fake, "box", 8 * GIB, 7 * GIB, f"anon {GIB}\nfile {6 * GIB}\ninactive_file {5 * GIB}\nodd line here")
    assert within(*HOST, fake.tree) == (8 * GIB, 6 * GIB)


def test_v1_walks_up_and_knows_that_no_limit_is_a_very_large_one(fake: FakeTree) -> None:
    fake.write({"proc/self/cgroup": "9:name=systemd:/\n4:memory,hugetlb:/jobs/a\n0::/"})
    v1(fake, "", 0x7FFF_FFFF_FFFF_F000, 40 * GIB)
    v1(fake, "jobs", 12 * GIB, 10 * GIB, f"total_inactive_file {3 * GIB}\ninactive_file 1")
    v1(fake, "jobs/a", 0x7FFF_FFFF_FFFF_F000, GIB)
    assert within(*HOST, fake.tree) == (12 * GIB, 5 * GIB)


def test_a_limit_above_the_hosts_memory_changes_nothing(fake: FakeTree) -> None:
    fake.write({"proc/self/cgroup": "0::/box"})
    v2(fake, "box", 128 * GIB, GIB)
    assert within(*HOST, fake.tree) == HOST


def test_more_in_use_than_allowed_leaves_nothing_and_never_less(fake: FakeTree) -> None:
    fake.write({"proc/self/cgroup": "0::/box"})
    v2(fake, "box", 2 * GIB, 3 * GIB)
    assert within(*HOST, fake.tree) == (2 * GIB, 0)


@pytest.mark.parametrize(
    ("said", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 1),
        ("20000 100000", 1),
        ("max 100000", 8),
        ("9900000 100000", 8),
        ("", 8),
        ("100000", 8),
        ("0 0", 8),
        ("lots 100000", 8),
    ],
)
def test_cores_are_those_whose_time_a_container_may_use(fake: FakeTree, said: str, cores: int) -> None:
    fake.write({"proc/self/cgroup": "0::/box", "sys/fs/cgroup/box/cpu.max": said})
    assert cores_within(8, fake.tree) == cores


def test_cores_are_cut_by_the_tightest_of_all_cgroups_in_both_versions(fake: FakeTree) -> None:
    assert cores_within(8, fake.tree) == 8
    fake.write({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "300000 100000"})
    fake.write({"sys/fs/cgroup/a/b/cpu.max": "500000 100000"})
    assert cores_within(8, fake.tree) == 3
    fake.write({"proc/self/cgroup": "4:cpu,cpuacct:/c\n0::/"})
    fake.write({"sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "400000", "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000"})
    assert cores_within(8, fake.tree) == 4
    fake.write({"sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "-1"})
    assert cores_within(8, fake.tree) == 8
