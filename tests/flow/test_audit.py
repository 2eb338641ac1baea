"""The audit log with real processes: several at once, killed, on a full disk, and on the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from appliance.audit import reading
from appliance.audit.actions import Action
from appliance.audit.acts import acting
from appliance.config.paths import Home, account
from tests.flow.test_ledger import SMALL_DISK
from tests.support.box import Box, environment

pytestmark = pytest.mark.slow

EVENTS = 200
KILLS = 30


def auditor(state: Path, kind: str, count: int, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A process that puts events on record."""
    command = [*before, sys.executable, "-P", "-m", "tests.support.auditor", str(state), kind, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())


@pytest.fixture
def home(box: Box) -> Home:
    """A box with an act on its audit log."""
    made = Home(box.config, box.state)
    note(made, "key-0")
    return made


def note(home: Home, target: str, owner: str = "anna") -> None:
    """An act of the admin."""
    with acting(home) as acts:
        acts.note(Action.KEY_CREATED, target, owner=owner)


def test_two_commands_and_a_gateway_at_once_make_one_whole_chain(home: Home) -> None:
    children = [auditor(home.state, kind, EVENTS) for kind in ("acts", "acts", "events")]
    for child in children:
        said, wrong = child.communicate(timeout=200)
        assert (child.returncode, len(said.splitlines())) == (0, EVENTS), wrong
    checked = reading.verify(home)
    assert (checked.fault, checked.events, checked.ahead) == (None, 1 + 3 * EVENTS, 0)


def test_kill_9_at_any_moment_leaves_a_whole_log_with_every_event_that_was_done(home: Home) -> None:
    dice = random.Random(7)
    done = 1
    for kill in range(KILLS):
        child = auditor(home.state, "acts" if kill % 5 == 0 else "events", 100_000)
        assert child.stdout is not None
        told = [child.stdout.readline()]
        time.sleep(dice.uniform(0, 0.06))
        child.kill()
        rest, _ = child.communicate(timeout=20)
        told += [line for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        checked = reading.verify(home)
        assert checked.fault is None
        assert checked.ahead <= 1
        newest = {one["target"] for one in reading.newest(home, checked.events - done)}
        assert {line.strip() for line in told} <= newest
        done = checked.events
    note(home, "key-1")
    assert reading.verify(home).ahead == 0


def test_a_full_disk_stops_what_cannot_be_put_on_record_and_room_lets_it_go_on(box: Box) -> None:
    shell = ["unshare", "--mount", "--map-root-user", "sh", "-c", SMALL_DISK, "sh", str(box.state)]
    if os.geteuid() == 0:
        shell.remove("--map-root-user")
    child = auditor(box.state, "full", 20, tuple(shell))
    said, wrong = child.communicate(timeout=100)
    assert child.returncode == 0, wrong
    report = json.loads(said.splitlines()[-1])
    assert set(report["events"]) == {"audit-unavailable"}
    assert len(report["events"]) == 20
    assert set(report["acts"]) <= {"audit-unavailable", "disk-full"}
    assert len(report["acts"]) == 20
    assert report["afterwards"] == [None, None]
    assert report["fault"] is None
    assert report["actions"] == ["audit-resumed", "cloud-sent", "key-created"]


def test_a_new_box_has_an_empty_log_that_is_whole(box: Box) -> None:
    assert box.document("audit", "tail") == []
    assert box.document("audit", "verify")["events"] == 0
    assert box.run("audit", "export").stdout == ""


def test_tail_tells_people_who_did_what(box: Box, home: Home) -> None:
    note(home, "key-1", owner="ben\x1b[31m")
    lines = box.run("audit", "tail", "-n", "1").stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(f"ben?[31m's key key-1 was made by os:{account()}")
    assert lines[0].split()[0] == "2"
    shown = box.document("audit", "tail")
    assert [set(one) for one in shown] == [set(reading.NAMES)] * 2
    assert shown[0]["at"].endswith("Z")
    assert box.document("audit", "tail", "--follow", code=2)["error"]["code"] == "wrong-use"


def test_tail_follows(box: Box, home: Home) -> None:
    with subprocess.Popen(
        box.argv("audit", "tail", "-f"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as follower:
        assert follower.stdout is not None
        assert "key-0" in follower.stdout.readline()
        note(home, "key-1")
        assert "key-1" in follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
        assert follower.communicate(timeout=20) == ("", "Interrupted.\n")


def test_verify_shows_a_head_and_finds_what_does_not_fit_it(box: Box, home: Home) -> None:
    note(home, "key-1")
    found = box.document("audit", "verify")
    assert (found["whole"], found["events"], found["after_anchor"]) == (True, 2, 0)
    assert found["head"] in box.run("audit", "verify", "--expect", found["head"]).stdout
    later = "3:" + "a" * 64
    assert box.document("audit", "verify", "--expect", later, code=1)["error"]["code"] == "audit-broken"
    assert box.document("audit", "verify", "--expect", "yesterday", code=2)["error"]["code"] == "wrong-use"


def test_a_damaged_log_is_told_and_put_aside_only_with_a_yes(box: Box, home: Home) -> None:
    assert box.document("audit", "restart", "--yes", code=2)["error"]["code"] == "wrong-use"
    for number in range(4):
        note(home, f"key-{number + 1}")
    head = box.document("audit", "verify")["head"]
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute("DELETE FROM audit_event WHERE seq >= 4")
    error = box.document("audit", "verify", code=1)["error"]
    assert error["code"] == "audit-broken"
    assert "Events 4 to 5: missing at the end of the log" in error["message"]
    assert "appliance audit restart" in error["hint"]
    assert box.document("audit", "restart", code=4)["error"]["code"] == "needs-yes"
    assert box.document("audit", "restart", "--dry-run")["file"] is None
    assert box.document("audit", "verify", code=1)
    aside = box.document("audit", "restart", "--yes")
    assert (aside["fault"], aside["seq"], aside["events"]) == ("cut tail", 4, 3)
    kept = Path(aside["file"])
    assert len(kept.read_text().splitlines()) == 3
    assert kept.with_suffix(".key").stat().st_size == 32
    assert box.document("audit", "verify")["events"] == 1
    assert "put a damaged audit log aside" in box.run("audit", "tail").stdout
    assert box.document("audit", "verify", "--expect", head, code=1)["error"]["code"] == "audit-broken"


def test_export_writes_lines_of_json_or_a_table_for_a_spreadsheet(box: Box, home: Home, tmp_path: Path) -> None:
    note(home, "=HYPERLINK(1)")
    lines = [json.loads(line) for line in box.run("audit", "export").stdout.splitlines()]
    assert lines == box.document("audit", "tail")
    assert lines[0]["facts"] == {"owner": "anna"}
    file = tmp_path / "out.jsonl"
    box.run("audit", "export", "--since", "2", "--output", str(file))
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines[1:]
    rows = list(csv.DictReader(io.StringIO(box.run("audit", "export", "--format", "csv").stdout)))
    assert [row["seq"] for row in rows] == ["1", "2"]
    assert rows[1]["target"] == "'=HYPERLINK(1)", "no spreadsheet takes it for a formula"
    assert "wrong-use" in box.run("audit", "export", "--output", str(tmp_path / "no/out"), code=2).stderr
