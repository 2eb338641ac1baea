"""Backups that make themselves, that are tried by being brought back, and that fit into one file for the safe."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.config.load import parse
from appliance.control.sandbox import settings_for
from tests.support.box import Box, ask, free_port, wait_until
from tests.support.engines import FakeEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed"),
]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[Box]:
    """A box that runs, with sign-on and people, and a backup of it; and a budget that is used up."""
    made = Box(tmp_path_factory.mktemp("drill"))
    engine = f'[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n'
    made.configure(f"engine_wait_s = 1\n{engine}[identity]\nenabled = true\nport = {free_port()}\n")
    key = made.key()
    made.run("users", "add", "anna@example.com", "--password-stdin", given="a long password of hers\n")
    made.run("up")
    made.post(ask("tokens=3"), key)
    made.run("budgets", "set", "box", "--requests", "1", "--per", "month")
    made.run("backup", "set-up", str(made.folder / "usb"))
    made.run("backup", "create")
    yield made
    made.run("down")


def test_a_drill_brings_all_back_beside_what_runs_and_leaves_nothing(box: Box) -> None:
    before = box.document("status")
    found = box.document("backup", "drill")
    assert found["id"] == box.document("backup", "list")[-1]["id"]
    assert found["signed_in"]
    assert found["rows"] > 5
    assert 0 < found["fetch_s"] < found["back_s"]
    assert 0 <= found["lost_s"] < 600
    assert [one["pid"] for one in box.document("status")["processes"]] == [one["pid"] for one in before["processes"]]
    assert not (box.state / "backup" / "drill").exists()
    event = box.document("audit", "tail")[-1]
    assert (event["action"], event["target"]) == ("backup-drilled", found["id"])
    assert "drill@" not in box.run("users", "list").stdout


def test_a_box_that_does_not_work_with_it_is_told_and_leaves_nothing(box: Box, fake_engine: FakeEngine) -> None:
    text = box.config.read_text()
    # The settings come from the backup too, and this one's engine is nowhere.
    box.config.write_text(text.replace(fake_engine.url, "http://127.0.0.1:9/v1"))
    try:
        box.run("backup", "create")
    finally:
        box.config.write_text(text)
    found = box.document("backup", "drill", code=1)["error"]
    assert found["code"] == "drill-failed"
    assert "/v1/chat/completions answers 503" in found["message"]
    assert not (box.state / "backup" / "drill").exists()
    box.run("backup", "create")


def test_a_sandbox_has_no_way_out() -> None:
    text = (
        '[gateway]\nhost = "0.0.0.0"\ninsecure_lan = true\nport = 8080\n[backup]\nto = "/media/usb"\n'
        '[identity]\nenabled = true\n[identity.directory]\nurl = "ldaps://dc.example.com"\nbase = "dc=example"\n'
        '[chat]\nenabled = true\n[mail]\nhost = "mail.example.com"\nfrom = "box@example.com"\n'
        '[lan]\nenabled = true\nhost = "box.example.com"\n[cloud]\nenabled = true\n'
        '[engines.chat]\nmodel = "large"\nslots = 8\n[engines.small]\nmodel = "small"\n'
    )
    told = parse(settings_for(text, 1111, 2222, "tiny"), Path("x"))
    assert (told.gateway.host, told.gateway.port, told.gateway.insecure_lan) == ("127.0.0.1", 1111, False)
    assert (told.identity.enabled, told.identity.port, told.identity.directory.url) == (True, 2222, None)
    assert (told.backup.to, told.chat.enabled, told.lan.enabled, told.cloud.enabled) == (None, False, False, False)
    assert {role: (one.model, one.slots) for role, one in told.engines.items()} == {"chat": ("tiny", 1)}
    assert parse(settings_for(text, 1, 2, None), Path("x")).engines["chat"].model == "large"
    assert parse(settings_for("", 1, 2, "tiny"), Path("x")).engines["chat"].model == "tiny"
    elsewhere = '[engines.chat]\nurl = "http://gpu:8000/v1"\nmodel = "m"\n'
    assert parse(settings_for(elsewhere, 1, 2, "tiny"), Path("x")).engines["chat"].url == "http://gpu:8000/v1"


def test_one_file_has_everything_and_a_flipped_byte_of_it_is_found(box: Box, tmp_path: Path) -> None:
    file = tmp_path / "safe.backup"
    made = box.document("backup", "export", str(file))
    assert made["bytes"] == file.stat().st_size
    assert file.stat().st_mode & 0o777 == 0o600
    whole = file.read_bytes()
    assert b"anna@example.com" not in whole
    assert not list((box.state / "backup").glob("[es][xt]*")), "what it was made from is gone"
    words = (box.state / "secrets" / "backup.key").read_text()
    (tmp_path / "new").mkdir()
    new = Box(tmp_path / "new")
    chance = random.Random(5)
    for _ in range(6):
        where = chance.randrange(len(whole))
        file.write_bytes(whole[:where] + bytes([whole[where] ^ 1 << chance.randrange(8)]) + whole[where + 1 :])
        told = new.document("restore", "--from", str(file), "--key-stdin", "--no-start", code=None, given=words)
        # A byte that means nothing to ZIP may change; then all is there all the same.
        assert "error" in told or told["id"]
        if "error" in told:
            assert told["error"]["code"].startswith("backup-"), told
            assert not (new.state / "appliance.db").exists()
        else:
            shutil.rmtree(new.state)
    file.write_bytes(whole[:-100])
    told = new.document("restore", "--from", str(file), "--key-stdin", code=None, given=words)
    assert told["error"]["code"] == "backup-damaged"
    file.write_bytes(whole)
    new.run("restore", "--from", str(file), "--key-stdin", "--no-start", given=words)
    assert "anna@example.com" in new.run("users", "list").stdout
    assert new.config.read_text() == box.config.read_text()
    assert box.document("backup", "export", str(file), code=2)["error"]["code"] == "wrong-use"
    assert box.document("backup", "export", str(tmp_path / "no/x"), code=2)["error"]["code"] == "wrong-use"


def test_it_makes_them_by_itself_when_they_are_due(box: Box) -> None:
    before = {one["command"]: one for one in box.document("backup", "schedule")}
    assert before["verify"]["last"] is None
    mark = box.state / "backup" / "last-create"
    newest = box.document("backup", "list")[-1]["id"]
    long_ago = time.time() - 2 * 86_400
    os.utime(mark, (long_ago, long_ago))
    wait_until(lambda: mark.stat().st_mtime > long_ago + 86_400, 90, "the backup")
    assert box.document("backup", "list")[-1]["id"] != newest
    assert "backup" in box.run("logs", "backup").stdout


def test_when_is_shown_and_changed(box: Box) -> None:
    found = {one["command"]: one for one in box.document("backup", "schedule", "--at", "04:05", "--drill-days", "3")}
    assert found["create"]["next"][11:16] == "04:05"
    assert (box.state / "run" / "jobs.json").read_text().count("04:05") == 3
    off = box.document("backup", "schedule", "--off")
    assert {one["next"] for one in off} == {None}
    assert (box.state / "run" / "jobs.json").read_text() == "[]"
    box.run("backup", "schedule", "--on", "--at", "02:30")
    assert box.document("backup", "schedule", "--at", "24:00", code=2)["error"]["code"] == "config-bad-value"
