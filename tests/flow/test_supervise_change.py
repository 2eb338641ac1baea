"""The supervisor takes a changed list while it runs, and touches only what changed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.supervise.spec import Probe, specs_to_json
from appliance.supervise.where import LIST, reload, supervisor_pid
from tests.support.box import environment, free_port, wait_until
from tests.support.supervised import Supervised, alive

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    with Supervised(tmp_path) as made:
        yield made


def hang_up(supervised: Supervised) -> None:
    """Tell the supervisor to read its list, whatever that says."""
    assert supervised.process is not None
    supervised.process.send_signal(signal.SIGHUP)


def test_what_is_on_both_lists_is_left_alone_and_the_rest_comes_and_goes(supervised: Supervised) -> None:
    for name in ("one", "two", "three"):
        supervised.add(name)
    supervised.start()
    supervised.until_ready()
    one, two, three = (supervised.pid(name) for name in ("one", "two", "three"))
    supervised.remove("two")
    supervised.add("four")
    supervised.specs.reverse()
    supervised.reload()
    supervised.until_settled()
    assert supervised.names() == ["four", "three", "one"]
    assert (supervised.pid("one"), supervised.pid("three")) == (one, three)
    assert [supervised.state(name).restarts for name in ("one", "three", "four")] == [0, 0, 0]
    assert not alive(two)
    assert supervised.end() == 0
    assert supervised.journal[-3:] == ["one end", "three end", "four end"]


def test_the_report_has_the_digest_of_its_list_from_the_start_and_after_each_change(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.start()
    supervised.until_ready()
    written = supervised.run / LIST
    report = supervised.report()
    assert report is not None
    assert report.list_digest == hashlib.sha256(written.read_bytes()).hexdigest()
    supervised.add("two")
    digest = supervised.reload()
    assert digest == hashlib.sha256(written.read_bytes()).hexdigest() != report.list_digest
    assert written.stat().st_mode & 0o777 == 0o600
    one = supervised.pid("one")
    supervised.until_ready()
    for _ in range(20):
        assert reload(supervised.run, tuple(supervised.specs)) == digest
    supervised.until_settled()
    assert supervised.pid("one") == one


def test_one_that_will_not_end_is_killed_after_its_grace_and_the_others_are_watched_meanwhile(
    supervised: Supervised,
) -> None:
    grandchild = supervised.run / "grandchild"
    supervised.add("one")
    supervised.add("two", "--ignore-term", "--grandchild", str(grandchild), stop_s=2.0)
    supervised.start()
    supervised.until_ready()
    one, two = supervised.pid("one"), supervised.pid("two")
    supervised.remove("two")
    began = time.monotonic()
    supervised.reload()
    report = supervised.report()
    assert report is not None
    assert [(state.name, state.state, state.pid) for state in report.processes] == [
        ("one", "ready", one),
        ("two", "ending", two),
    ]
    assert (report.all_ready, report.settled) == (True, False)
    os.kill(one, signal.SIGKILL)
    wait_until(lambda: supervised.state("one").restarts == 1 and supervised.is_("one", "ready"))
    assert supervised.is_("two", "ending"), "one was back before two was gone"
    assert alive(two)
    supervised.until_settled()
    assert 2.0 <= time.monotonic() - began < 5
    assert supervised.names() == ["one"]
    assert not alive(two)
    wait_until(lambda: not alive(int(grandchild.read_text())), 2)


def test_a_changed_process_starts_on_the_same_port_once_the_old_one_is_gone(supervised: Supervised) -> None:
    port = free_port()
    probe = Probe(path="/", host="127.0.0.1", port=port)
    supervised.add("one", "--port", str(port), "--ignore-term", probe=probe, stop_s=0.6)
    supervised.add("two")
    supervised.start()
    supervised.until_ready()
    one, two = supervised.pid("one"), supervised.pid("two")
    supervised.specs[0] = replace(supervised.specs[0], argv=(*supervised.specs[0].argv, "--say", "anew"))
    supervised.reload()
    assert supervised.names() == ["one", "two", "one"]
    assert states(supervised) == ["waiting", "ready", "ending"]
    # Back to what it was, while that still ends: it is a new process all the same.
    supervised.specs[0] = replace(supervised.specs[0], argv=supervised.specs[0].argv[:-2])
    supervised.reload()
    assert states(supervised) == ["waiting", "ready", "ending"]
    supervised.until_settled()
    state = supervised.state("one")
    assert (state.restarts, state.exit_code) == (0, None), "it found its port free at the first try"
    assert state.pid != one
    assert supervised.pid("two") == two
    assert supervised.journal.count("one begin") == 2, "the one between never began"


def states(supervised: Supervised) -> list[str]:
    """The states in the report, in order."""
    report = supervised.report()
    assert report is not None
    return [state.state for state in report.processes]


def test_a_new_process_that_does_not_stay_up_fails_alone_and_can_be_taken_off_again(supervised: Supervised) -> None:
    supervised.add("one")
    process = supervised.start()
    supervised.until_ready()
    one = supervised.pid("one")
    supervised.add("two", "--delay", "600", "--say", "no luck", start_s=0.3)
    supervised.reload()
    wait_until(lambda: supervised.is_("two", "failed"))
    assert "no luck" in supervised.state("two").last_lines
    report = supervised.report()
    assert report is not None
    assert not report.given_up
    wait_until(lambda: supervised.state("two").restarts >= 1 and supervised.state("two").pid, 30, "another try")
    supervised.remove("two")
    supervised.reload()
    supervised.until_settled()
    assert supervised.names() == ["one"]
    assert (process.poll(), supervised.pid("one")) == (None, one)


def test_a_list_that_cannot_be_read_changes_nothing_and_is_told_in_one_line(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.start()
    supervised.until_ready()
    before, log = supervised.report(), supervised.run / "supervisor.log"
    good = json.loads(specs_to_json(tuple(supervised.specs)))
    broken = ["", "{", "{}", "[1]", '[{"name": "two"}]', json.dumps(good * 2), "[" * 100_000, "\udcff"]
    for times, text in enumerate([None, *broken], 1):
        if text is None:
            (supervised.run / LIST).unlink()
        else:
            (supervised.run / LIST).write_bytes(text.encode("utf-8", "surrogateescape"))
        hang_up(supervised)
        wait_until(lambda times=times: len(log.read_text().splitlines()) >= times, what=f"a word on {text!r:.20}")
    lines = log.read_text().splitlines()
    assert len(lines) == 1 + len(broken)
    assert all("processes.json is not taken, nothing changes: " in line for line in lines)
    assert supervised.report() == before
    supervised.add("two")
    supervised.reload()
    supervised.until_settled()


def test_a_list_that_changes_during_a_start_is_started_in_its_own_order(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.add("two")
    supervised.add("three", "--delay", "600", stop_s=0.3)
    supervised.add("four")
    supervised.start()
    wait_until(lambda: supervised.is_("three", "starting"))
    one, two, three = (supervised.pid(name) for name in ("one", "two", "three"))
    for name in ("one", "three"):
        supervised.remove(name)
    supervised.add("three", "--delay", "0.5")
    supervised.specs.insert(0, supervised.specs.pop())
    supervised.add("five")
    supervised.reload()
    os.kill(two, signal.SIGKILL)
    supervised.until_settled()
    assert supervised.names() == ["three", "two", "four", "five"]
    assert not alive(one)
    assert not alive(three)
    assert supervised.state("two").restarts == 1, "what had begun was watched, though a new one stands before it"
    steps = [f"{name} {what}" for name in ("three", "two", "four", "five") for what in ("begin", "ready")]
    assert supervised.journal[-8:] == steps


def test_a_list_that_is_handed_over_as_soon_as_there_is_a_supervisor_is_not_lost(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.start()
    wait_until(lambda: supervisor_pid(supervised.run) is not None)
    for name in ("two", "three", "four"):
        supervised.add(name)
        digest = reload(supervised.run, tuple(supervised.specs))
    wait_until(lambda: (found := supervised.report()) is not None and found.list_digest == digest)
    supervised.until_settled()
    assert supervised.names() == ["one", "two", "three", "four"]


def test_a_first_start_is_still_given_up_after_a_change_of_its_list(supervised: Supervised) -> None:
    supervised.add("one", "--delay", "600", stop_s=0.3)
    process = supervised.start()
    wait_until(lambda: supervised.is_("one", "starting"))
    supervised.remove("one")
    supervised.add("two", "--delay", "600", start_s=0.3)
    reload(supervised.run, tuple(supervised.specs))
    assert process.wait(10) == 1
    assert supervised.state("two").state == "failed"


def test_told_to_end_while_something_is_ending_it_leaves_nothing_behind(supervised: Supervised) -> None:
    supervised.add("one")
    supervised.add("two", "--ignore-term", stop_s=1.0)
    supervised.add("three", "--ignore-term", stop_s=1.0)
    supervised.start()
    supervised.until_ready()
    pids = [supervised.pid(name) for name in ("one", "two", "three")]
    for name in ("two", "three"):
        supervised.remove(name)
    began = time.monotonic()
    supervised.reload()
    assert sorted(supervised.names()) == ["one", "three", "two"]
    assert supervised.end() == 0
    assert 1.0 <= time.monotonic() - began < 4
    assert not any(alive(pid) for pid in pids)
    assert supervisor_pid(supervised.run) is None
    assert supervised.names() == ["one"]
    assert supervised.state("one").state == "ended"


def test_a_killed_supervisor_takes_what_was_ending_along(supervised: Supervised) -> None:
    supervised.add("one", "--ignore-term", stop_s=30.0)
    supervised.start()
    supervised.until_ready()
    one = supervised.pid("one")
    supervised.specs.clear()
    supervised.reload()
    assert alive(one)
    supervised.end(signal.SIGKILL)
    wait_until(lambda: not alive(one), 5)


def test_without_a_supervisor_a_list_waits_for_the_next_one(supervised: Supervised) -> None:
    supervised.add("one")
    digest = reload(supervised.run, tuple(supervised.specs))
    supervised.start()
    supervised.until_ready()
    report = supervised.report()
    assert report is not None
    assert report.list_digest == digest


def test_a_supervisor_in_another_container_is_told_of_and_its_list_left_alone(supervised: Supervised) -> None:
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--"]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("processes may not be set apart here")
    supervised.add("one")
    supervised.start()
    supervised.until_ready()
    before = (supervised.run / LIST).read_bytes()
    program = "import sys, pathlib, appliance.supervise.where as where; where.reload(pathlib.Path(sys.argv[1]), ())"
    done = subprocess.run(
        [*apart, sys.executable, "-c", program, str(supervised.run)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert "ApplianceError" in done.stderr
    assert "It was started in another container." in done.stderr
    assert (supervised.run / LIST).read_bytes() == before
    assert supervised.is_("one", "ready")
