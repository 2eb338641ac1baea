"""What is on record of an update, who may begin one, and what is said when nothing can be done."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.config.paths import Home, find_home
from appliance.control import update_recovery, updating
from appliance.control.installation import Installation, installed
from appliance.errors import ApplianceError
from appliance.store import maintenance
from appliance.update import journal
from appliance.update.journal import Record
from tests.support.box import environment

RECORD = Record("20261129T020000", "update", "/opt/appliance", "0.1.0-a", "0.2.0-b", "0.1.0", "0.2.0", 2)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = find_home(tmp_path / "appliance.toml", tmp_path / "var")
    made.prepare()
    made.update.mkdir()
    return made


def test_each_step_is_on_the_disk_and_the_end_is_in_the_history_once(home: Home) -> None:
    begun = journal.note(home, RECORD, "drain", journal.BEGUN)
    assert journal.find(home) == begun
    assert (begun.has("drain"), begun.has("drain", "done"), begun.has("stop")) == (True, False, False)
    ended = journal.close(home, begun, journal.CARRIED_OUT)
    journal.close(home, ended, journal.CARRIED_OUT)
    journal.forget(home)
    assert journal.find(home) is None
    assert journal.history(home) == [ended]
    assert journal.highest_serial(home) == 2


def test_a_line_that_a_power_cut_tore_hides_no_other(home: Home) -> None:
    journal.close(home, RECORD, journal.UNDONE)
    with (home.update / "history.jsonl").open("ab") as file:
        file.write(b'{"id": "2026\n')
    journal.close(home, replace(RECORD, id="later", serial=9), journal.CARRIED_OUT)
    assert [one.id for one in journal.history(home)] == [RECORD.id, "later"]
    assert journal.highest_serial(home) == 9, "what was undone was never trusted to serve"


def test_the_doors_open_to_the_word_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    maintenance.admit(home.maintenance, None)
    word = maintenance.close(home.maintenance)
    for wrong in (None, "", word[:-1], word + "x"):
        with pytest.raises(ApplianceError) as caught:
            maintenance.admit(home.maintenance, wrong)
        assert (caught.value.code, caught.value.retry_after_s) == ("updating", 30)
    maintenance.admit(home.maintenance, word)
    assert not maintenance.is_ours(home.maintenance)
    monkeypatch.setenv("APPLIANCE_UPDATE", word)
    assert maintenance.is_ours(home.maintenance)
    maintenance.open_again(home.maintenance)
    assert not maintenance.is_ours(home.maintenance)
    maintenance.open_again(home.maintenance)


def test_doors_that_a_power_cut_left_without_a_word_stay_closed(home: Home) -> None:
    home.maintenance.touch()
    with pytest.raises(ApplianceError):
        maintenance.admit(home.maintenance, "")


def test_nobody_begins_one_while_another_is_under_way_or_was_cut_off(home: Home) -> None:
    update_recovery.refuse_if_unfinished(home)
    journal.write(home, RECORD)
    with pytest.raises(ApplianceError) as caught:
        update_recovery.refuse_if_unfinished(home)
    assert caught.value.code == "update-not-ready"
    hold = f"import fcntl, time; f = open({str(home.update / 'lock')!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX)"
    command = [sys.executable, "-c", f"{hold}; print('held', flush=True); time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as other:
        assert other.stdout is not None
        other.stdout.readline()
        for refused in (update_recovery.refuse_if_unfinished, update_recovery.refuse_while_under_way):
            with pytest.raises(ApplianceError) as caught:
                refused(home)
            assert caught.value.code == "updating"
        other.kill()


def test_code_that_the_installer_did_not_put_there_is_not_updated() -> None:
    with pytest.raises(ApplianceError) as caught:
        installed()
    assert caught.value.code == "update-unavailable"


def test_an_old_version_that_does_not_start_is_said(home: Home, tmp_path: Path) -> None:
    python = tmp_path / "code/releases/0.1.0-a/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'no room' >&2\nexit 1\n")
    python.chmod(0o755)
    (tmp_path / "code/current").symlink_to("releases/0.1.0-a")
    home.config.touch()
    journal.write(home, RECORD)
    run = updating._Run(home, load(home.config), Installation(tmp_path / "code"), RECORD, print, lambda *_: None)
    with pytest.raises(ApplianceError) as caught:
        run._finish()
    assert caught.value.code == "update-stuck"
    assert "no room" in caught.value.sentence
