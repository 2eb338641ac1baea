"""The supervisor keeps up what it was given: in order, with back-off, and at the priority that is allowed."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from appliance.supervise.spec import Probe
from appliance.supervise.where import LIST, LOCK, REPORT, supervisor_pid
from appliance.units import MIB
from tests.support.box import wait_until
from tests.support.supervised import Supervised, alive, without_powers

pytestmark = [pytest.mark.slow, pytest.mark.alone]

MAY_RAISE = "import os; os.setpriority(os.PRIO_PROCESS, 0, -10)"


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    with Supervised(tmp_path) as made:
        yield made


def test_each_starts_once_the_one_before_is_ready(supervised: Supervised) -> None:
    for name in ("one", "two", "three"):
        supervised.add(name, "--delay", "0.2")
    supervised.start()
    supervised.until_ready()
    steps = [f"{name} {what}" for name, what in itertools.product(("one", "two", "three"), ("begin", "ready"))]
    assert supervised.journal == steps


def test_the_report_tells_the_states_of_a_start(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.add("two", "--delay", "1")
    supervised.add("three")
    process = supervised.start()
    wait_until(lambda: supervised.is_("two", "starting"))
    report = supervised.report()
    assert report is not None
    assert [one.state for one in report.processes] == ["ready", "starting", "waiting"]
    assert (report.supervisor, report.given_up, report.all_ready) == (process.pid, False, False)
    supervised.until_ready()
    assert supervised.ask("two")["pid"] == supervised.pid("two")
    assert supervised.state("three").restarts == 0


def test_a_killed_process_is_started_again_and_counted(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.add("two")
    supervised.start()
    supervised.until_ready()
    before, other = supervised.pid("one"), supervised.pid("two")
    for times in (1, 2):
        os.kill(supervised.pid("one"), signal.SIGKILL)
        wait_until(lambda times=times: supervised.is_("one", "ready") and supervised.state("one").restarts == times)
    state = supervised.state("one")
    assert (state.state, state.restarts, state.exit_code) == ("ready", 2, -signal.SIGKILL)
    assert supervised.pid("one") != before
    assert supervised.pid("two") == other, "its neighbour was left alone"


def test_a_first_start_that_does_not_succeed_is_given_up_after_five_ever_rarer_tries(supervised: Supervised) -> None:
    broken = supervised.run / "broken"
    broken.touch()
    supervised.add("one")
    supervised.add("two", "--say", "the cause of it all", "--fail-while", str(broken), "--exit-code", "7")
    supervised.add("three")
    process, began = supervised.start(), time.monotonic()
    wait_until(lambda: supervised.is_("one", "ready"))
    one = supervised.pid("one")
    assert process.wait(20) == 1
    assert time.monotonic() - began > 0.2 + 0.4 + 0.8 + 1.6
    assert not alive(one)
    assert supervisor_pid(supervised.run) is None
    assert [supervised.state(name).state for name in ("one", "two", "three")] == ["ended", "failed", "waiting"]
    two = supervised.state("two")
    assert (two.exit_code, two.restarts) == (7, 5)
    assert two.last_lines[-1] == "the cause of it all"
    assert supervised.journal == ["one begin", "one ready", *["two begin"] * 5, "one end"]


def test_one_that_is_never_ready_is_given_up_after_its_time(supervised: Supervised) -> None:
    supervised.add("one", "--delay", "600", start_s=0.5)
    assert supervised.start().wait(10) == 1
    state = supervised.state("one")
    assert (state.state, state.restarts) == ("failed", 1)
    assert state.last_lines[-1] == "one was not ready after 0.5 s, and was ended"


def test_a_program_that_is_not_there_is_a_failure_like_others_with_words_in_the_log(supervised: Supervised) -> None:
    missing = supervised.run / "missing"
    supervised.specs = [replace(supervised.add("one"), argv=(str(missing),))]
    supervised.start()
    wait_until(lambda: supervised.is_("one", "restarting"))
    assert supervised.state("one").exit_code == 127
    assert f"{missing} could not be started: " in supervised.log("one").read_text()


def test_after_the_first_start_a_flapping_process_fails_alone_and_is_still_tried(supervised: Supervised) -> None:
    broken = supervised.run / "broken"
    supervised.add("one", "--fail-while", str(broken), "--say", "no luck")
    supervised.add("two")
    process = supervised.start()
    supervised.until_ready()
    two = supervised.pid("two")
    broken.touch()
    os.kill(supervised.pid("one"), signal.SIGKILL)
    wait_until(lambda: supervised.is_("one", "failed"))
    assert supervised.state("one").last_lines[-1] == "no luck"
    report = supervised.report()
    assert report is not None
    assert not report.given_up
    assert (process.poll(), supervised.pid("two")) == (None, two)
    broken.unlink()
    wait_until(lambda: supervised.is_("one", "ready"), what="another try")
    assert supervised.state("one").last_lines == ()


def test_a_leftover_socket_report_or_lock_file_stops_no_start(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.start()
    supervised.until_ready()
    os.kill(supervised.pid("one"), signal.SIGKILL)
    supervised.end(signal.SIGKILL)
    assert supervised.socket("one").exists(), "a killed server leaves its socket"
    report, lock = supervised.run / REPORT, supervised.run / LOCK
    report.write_text(report.read_text().replace(str(psutil.Process().pid), "1"))
    lock.write_text("1\n")
    supervised.start()
    supervised.until_ready()


@pytest.mark.parametrize("left", ["", "{", '{"supervisor": 1, "given_up": false, "processes": [{"shape": "other"}]}'])
def test_a_report_of_another_version_stops_no_start(supervised: Supervised, left: str) -> None:
    supervised.add("one")
    (supervised.run / REPORT).write_text(left)
    assert supervised.report() is None
    supervised.start()
    supervised.until_ready()


def test_a_second_supervisor_leaves_at_once_and_changes_nothing(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.start()
    supervised.until_ready()
    before = supervised.report()
    first = supervised.process
    assert supervised.start().wait(10) == 0
    supervised.process = first
    assert supervised.report() == before


def test_a_log_is_cut_at_its_limit_and_its_writer_goes_on(supervised: Supervised) -> None:
    kibibytes = 17 * 1024
    supervised.add("one", "--flood", str(kibibytes))
    supervised.start()
    log, old = supervised.log("one"), supervised.run / "one.log.old"
    wait_until(old.exists, what="the log's first part")
    supervised.until_ready()
    wait_until(lambda: log.stat().st_size < 16 * MIB)
    lines = [line[:6] for file in (old, log) for line in file.read_text().splitlines() if line[:6].isdigit()]
    # What is written between copying and cutting may be lost; what is kept is whole and in order.
    assert lines == sorted(set(lines))
    assert len(lines) > kibibytes * 0.9
    assert supervised.ask("one")["pid"] == supervised.pid("one")
    assert supervised.state("one").restarts == 0


def test_a_priority_is_raised_where_that_is_allowed(supervised: Supervised) -> None:
    allowed = subprocess.run([sys.executable, "-c", MAY_RAISE], capture_output=True, check=False).returncode == 0
    supervised.add("one", nice=-10)
    supervised.add("two")
    supervised.start()
    supervised.until_ready()
    assert supervised.state("one").prioritized is allowed
    assert (psutil.Process(supervised.pid("one")).nice() == -10) is allowed
    assert supervised.state("two").prioritized
    sessions = [Path(f"/proc/{supervised.pid(name)}/autogroup") for name in ("one", "two")]
    if sessions[0].exists():
        # Where processes are grouped by session, a priority counts among sessions only when the session has it.
        told = [file.read_text().split()[-1] for file in sessions]
        assert told == ["-10" if allowed else "0", "0"]


def test_without_the_right_to_it_a_process_runs_at_normal_priority_and_the_report_says_so(
    supervised: Supervised,
) -> None:
    supervised.add("one", nice=-10)
    supervised.start(*without_powers())
    supervised.until_ready()
    assert not supervised.state("one").prioritized
    assert psutil.Process(supervised.pid("one")).nice() == 0


def test_signals_that_the_supervisor_blocks_are_open_in_its_children(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.start()
    supervised.until_ready()
    assert supervised.ask("one")["blocked"] == []


def test_a_changed_list_is_not_read_unasked(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.start()
    supervised.until_ready()
    (supervised.run / LIST).write_text("changed")
    os.kill(supervised.pid("one"), signal.SIGKILL)
    wait_until(lambda: supervised.state("one").restarts == 1 and supervised.is_("one", "ready"))


def test_an_environment_file_is_all_that_a_process_has_and_is_read_at_each_start(
    supervised: Supervised, tmp_path: Path
) -> None:
    file = tmp_path / "environment.json"
    file.write_text('{"SECRET": "one"}')
    supervised.add("one", environment=str(file))
    supervised.start()
    supervised.until_ready()

    def theirs() -> bytes:
        return Path(f"/proc/{supervised.pid('one')}/environ").read_bytes()

    assert theirs() == b"SECRET=one\0"
    file.write_text('{"SECRET": "two"}')
    os.kill(supervised.pid("one"), signal.SIGKILL)
    wait_until(lambda: supervised.state("one").restarts == 1 and supervised.is_("one", "ready"))
    assert theirs() == b"SECRET=two\0"


@pytest.mark.parametrize("text", ["", "[]", '{"SECRET": 1}'])
def test_a_process_whose_environment_cannot_be_read_is_not_started_with_ours(
    supervised: Supervised, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "environment.json"
    file.write_text(text)
    supervised.add("one", environment=str(file))
    supervised.start()
    wait_until(lambda: supervised.is_("one", "failed"), 60)
    assert supervised.journal == []


def test_a_process_that_speaks_no_http_is_ready_once_it_takes_connections(supervised: Supervised) -> None:
    socket = str(supervised.socket("one"))
    supervised.add("one", "--delay", "0.3", probe=Probe(path="", socket=socket, kind="connect"))
    supervised.add("two", probe=Probe(path="", socket=str(supervised.run / "nobody.sock"), kind="connect"))
    supervised.start()
    wait_until(lambda: supervised.is_("one", "ready"))
    assert supervised.journal[:2] == ["one begin", "one ready"]
    wait_until(lambda: supervised.is_("two", "starting"))
