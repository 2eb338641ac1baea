"""However a supervisor ends, what it kept up ends with it, and the next one can begin."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.supervise.where import supervisor_pid
from tests.support.box import wait_until
from tests.support.supervised import Supervised, alive

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    with Supervised(tmp_path) as made:
        yield made


def pid_in(file: Path) -> int:
    """The process number in a file, once it is there."""
    wait_until(lambda: file.exists() and file.read_text(), what=f"{file.name}")
    return int(file.read_text())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_ends_all_in_reverse_order(supervised: Supervised, number: int) -> None:
    for name in ("one", "two", "three"):
        supervised.add(name)
    supervised.start()
    supervised.until_ready()
    pids = [supervised.pid(name) for name in ("one", "two", "three")]
    assert supervised.end(number) == 0
    assert supervised.journal[-3:] == ["three end", "two end", "one end"]
    assert not any(alive(pid) for pid in pids)
    assert supervisor_pid(supervised.run) is None
    states = [supervised.state(name) for name in ("one", "two", "three")]
    assert [(state.state, state.pid) for state in states] == [("ended", None)] * 3


def test_one_that_ignores_sigterm_is_killed_after_its_grace(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.add("two", "--ignore-term", stop_s=0.5)
    supervised.start()
    supervised.until_ready()
    two, began = supervised.pid("two"), time.monotonic()
    assert supervised.end() == 0
    assert 0.5 <= time.monotonic() - began < 5
    assert not alive(two)
    assert supervised.state("two").exit_code == -signal.SIGKILL
    assert supervised.journal[-1] == "one end", "its neighbour got its own time"


def test_grandchildren_end_too_even_those_that_ignore_sigterm(supervised: Supervised) -> None:
    file = supervised.run / "grandchild"
    supervised.add("one", "--grandchild", str(file))
    supervised.start()
    supervised.until_ready()
    grandchild = pid_in(file)
    assert alive(grandchild)
    assert supervised.end() == 0
    wait_until(lambda: not alive(grandchild), 2)


def test_a_grandchild_does_not_outlive_its_killed_parent_into_the_next_try(supervised: Supervised) -> None:
    file = supervised.run / "grandchild"
    supervised.add("one", "--grandchild", str(file))
    supervised.start()
    supervised.until_ready()
    grandchild = pid_in(file)
    os.kill(supervised.pid("one"), signal.SIGKILL)
    wait_until(lambda: supervised.state("one").restarts == 1 and supervised.is_("one", "ready"))
    assert not alive(grandchild)
    assert pid_in(file) != grandchild


def test_it_can_be_ended_in_the_middle_of_a_start(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.add("two", "--delay", "600")
    supervised.add("three")
    supervised.start()
    wait_until(lambda: supervised.is_("two", "starting"))
    pids = [supervised.pid(name) for name in ("one", "two")]
    assert supervised.end() == 0
    assert not any(alive(pid) for pid in pids)
    assert supervised.state("three").state == "waiting"


def test_it_can_be_ended_while_a_process_waits_for_its_next_try(supervised: Supervised) -> None:
    broken = supervised.run / "broken"
    supervised.add("one", "--fail-while", str(broken))
    supervised.start()
    supervised.until_ready()
    broken.touch()
    os.kill(supervised.pid("one"), signal.SIGKILL)
    wait_until(lambda: supervised.is_("one", "restarting"))
    assert supervised.end() == 0


def test_a_killed_supervisor_takes_its_children_along_and_the_next_starts_cleanly(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.add("two", "--ignore-term", stop_s=0.1)
    supervised.start()
    supervised.until_ready()
    pids = [supervised.pid(name) for name in ("one", "two")]
    assert supervised.end(signal.SIGKILL) == -signal.SIGKILL
    wait_until(lambda: not any(alive(pid) for pid in pids), 5, "the end of its children")
    assert supervisor_pid(supervised.run) is None
    supervised.start()
    supervised.until_ready()
    assert [supervised.state(name).restarts for name in ("one", "two")] == [0, 0]
