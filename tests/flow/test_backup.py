"""Backups of a box that is in use, kept by the real restic, and brought back: everything, to the byte and the row."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.accounts.suspension import suspend
from appliance.backup import putting, snapshot
from appliance.backup.snapshot import count_rows
from appliance.config.load import load
from appliance.config.paths import Home
from appliance.control import backups
from appliance.errors import ApplianceError
from appliance.policy.backups import FORMAT, NewerError, read_about
from appliance.store.sessions import session
from tests.support.batches import begin, line, until
from tests.support.box import Box, ask, wait_until
from tests.support.engines import FakeEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not installed"),
]

FIXED = ("files", "chat/uploads", "chat/vector_db/7f0c", "secrets")
ENGINE = '[engines.chat]\nurl = "{url}"\nmodel = "fake"\n'


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> tuple[Path, str]:
    """The folder of a box that was used, and a key: a batch, a person, settings, and what a chat page leaves."""
    box = Box(tmp_path_factory.mktemp("pattern"))
    box.configure(ENGINE.format(url=fake_engine.url))
    key = box.key()
    box.serve()
    try:
        assert box.post(ask("tokens=3"), key)[0] == 200
        until(box, key, begin(box, key, [line("one"), line("two")]))
    finally:
        box.stop()
    box.run("users", "add", "anna@example.com", "--password-stdin", given="a long password of hers\n")
    (box.folder / "models.local.toml").write_text("# mine\n")
    chat_page(box.state / "chat")
    return box.folder, key


@pytest.fixture
def used(tmp_path: Path, pattern: tuple[Path, str]) -> Iterator[Box]:
    """Such a box of the test's own."""
    shutil.copytree(pattern[0], tmp_path / "old")
    box = Box(tmp_path / "old")
    # It was copied with its port.
    box.port = int(re.findall(r"port = (\d+)", box.config.read_text())[0])
    yield box
    box.stop()


def fresh(folder: Path) -> Box:
    """A box in a folder of its own."""
    folder.mkdir()
    return Box(folder)


def chat_page(folder: Path) -> None:
    """What a chat page keeps, in small: a database in WAL mode, documents, an index and the database of that."""
    for name in ("uploads", "vector_db/7f0c", "static", "cache"):
        (folder / name).mkdir(parents=True)
    (folder / "uploads" / "contract.pdf").write_bytes(random.Random(1).randbytes(70_000))
    (folder / "vector_db/7f0c/data_level0.bin").write_bytes(random.Random(2).randbytes(9000))
    for file, mode in (("webui.db", "WAL"), ("vector_db/chroma.sqlite3", "DELETE")):
        with closing(sqlite3.connect(folder / file)) as connection:
            connection.execute(f"PRAGMA journal_mode = {mode}")
            connection.execute("CREATE TABLE chat (id INTEGER PRIMARY KEY, text TEXT)")
            connection.executemany("INSERT INTO chat (text) VALUES (?)", [(f"hello {n}",) for n in range(50)])
            connection.commit()


def begun(box: Box) -> tuple[Path, str]:
    """Where a box's backups go from now on, and the recovery key."""
    place = box.folder.parent / "usb"
    return place, str(box.document("backup", "set-up", str(place))["recovery_key"])


def rows(file: Path) -> dict[str, list[tuple[object, ...]]]:
    """All that a database holds, by table."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: sorted(connection.execute(f'SELECT * FROM "{name}"'), key=repr) for name in names}


def files(state: Path, *folders: str) -> dict[str, tuple[int, str]]:
    """Rights and digest of every file below some folders of a state."""
    return {
        str(path.relative_to(state)): (path.stat().st_mode & 0o777, hashlib.sha256(path.read_bytes()).hexdigest())
        for folder in folders
        for path in (state / folder).rglob("*")
        if path.is_file()
    }


def test_everything_is_back_on_an_empty_box_to_the_byte_and_the_row(
    used: Box, pattern: tuple[Path, str], tmp_path: Path
) -> None:
    place, words = begun(used)
    found = used.document("backup", "create")
    kept = {
        name: rows(used.state / name) for name in ("appliance.db", "chat/webui.db", "chat/vector_db/chroma.sqlite3")
    }
    fixed = files(used.state, *FIXED)
    assert len(fixed) >= 5

    new = fresh(tmp_path / "new")
    new.config.unlink()
    said = new.document("restore", "--from", str(place), "--key-stdin", "--no-start", given=f"{words.upper()}\n")
    assert said["id"] == found["id"]
    for name, held in kept.items():
        got = rows(new.state / name)
        # The backup itself is noted once it is there, as the restore is.
        for table in [table for table in held if table.startswith("audit")]:
            del held[table], got[table]
        assert got == held
    assert files(new.state, *FIXED) == fixed
    assert new.config.read_text() == used.config.read_text()
    assert (new.folder / "models.local.toml").read_text() == "# mine\n"
    assert new.state.stat().st_mode & 0o777 == 0o700
    assert not (new.state / "chat" / "static").exists(), "what is made anew by itself is left out"

    new.run("audit", "verify")
    last = new.run("audit", "tail").stdout.splitlines()[-1]
    assert f"restored the backup {found['id']}" in last
    new.port = used.port
    new.serve()
    assert new.post(ask("tokens=3"), pattern[1])[0] == 200, "a key of the old box"
    new.stop()
    # It goes on with its backups by itself.
    assert new.document("backup", "create")["added"] < found["bytes"]


def test_a_backup_under_load_holds_nobody_up_and_is_of_one_instant(used: Box, tmp_path: Path) -> None:
    place, words = begun(used)
    key, stop, failed = used.key("carl"), threading.Event(), []
    used.serve()

    def work() -> None:
        while not stop.is_set():
            status = used.post(ask("tokens=3"), key)[0]
            if status != 200:
                failed.append(status)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        used.run("backup", "create")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failed == []
    new = fresh(tmp_path / "new")
    new.run("restore", "--from", str(place), "--key-stdin", "--no-start", given=words)
    new.run("audit", "verify")
    with closing(sqlite3.connect(new.state / "appliance.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_flipped_byte_anywhere_is_found(used: Box) -> None:
    place, _ = begun(used)
    used.run("backup", "create")
    assert used.document("backup", "verify")["whole"]
    home, chance = Home(used.config, used.state), random.Random(7)
    settings, told = load(used.config), set()
    # Its locks are none of the data, and are gone again.
    for file in sorted(path for path in place.rglob("*") if path.is_file() and path.parent.name != "locks"):
        sound, where = file.read_bytes(), chance.randrange(file.stat().st_size)
        file.chmod(0o600)
        file.write_bytes(sound[:where] + bytes([sound[where] ^ 1 << chance.randrange(8)]) + sound[where + 1 :])
        with pytest.raises(ApplianceError) as caught:
            backups.verify(home, settings)
        assert caught.value.code.startswith("backup-"), f"{file.relative_to(place)} at {where}"
        told.add(caught.value.code)
        file.write_bytes(sound)
    assert "backup-damaged" in told
    backups.verify(home, settings)


def test_what_is_wrong_is_said_and_nothing_is_changed(used: Box, tmp_path: Path) -> None:
    for command in (("backup", "create"), ("backup", "list"), ("backup", "verify"), ("restore", "--yes")):
        assert used.document(*command, code=2)["error"]["code"] == "backup-not-set-up"
    inside = used.document("backup", "set-up", str(used.state / "x"), code=2)
    assert inside["error"]["code"] == "wrong-use"
    assert used.document("backup", "set-up", "/dev/null/x", code=1)["error"]["code"] == "backup-unreachable"
    assert not (used.state / "secrets" / "backup.key").exists(), "a key that nobody was shown"
    assert used.document("backup", "set-up", "usb", code=2)["error"]["code"] == "wrong-use"
    place, words = begun(used)
    assert used.document("backup", "set-up", str(place))["recovery_key"] is None, "it is shown once"
    assert used.run("backup", "list").stderr.startswith("There is no backup yet")
    none = used.document("restore", "--yes", "--no-start", code=1)
    assert none["error"]["code"] == "backup-not-found"
    made = used.document("backup", "create")["id"]
    assert [one["id"] for one in used.document("backup", "list")] == [made]
    assert used.document("restore", code=4)["error"]["code"] == "needs-yes"

    new = fresh(tmp_path / "new")
    before = sorted(new.folder.rglob("*"))

    def refused(*options: str, given: str) -> str:
        code = new.document("restore", *options, "--key-stdin", code=None, given=given)["error"]["code"]
        return str(code)

    assert refused("--from", str(place), given="twelve words that are none") == "backup-wrong-key"
    others = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    assert refused("--from", str(place), given=others) == "backup-wrong-key"
    assert refused("--from", str(tmp_path / "nothing"), given=words) == "backup-not-found"
    assert refused("00000000", "--from", str(place), given=words) == "backup-not-found"
    assert new.document("restore", "--dry-run", "--from", str(place), "--key-stdin", given=words)["id"] == made
    assert not (new.state / "appliance.db").exists()
    assert not list(new.state.glob("before-restore-*"))
    assert before[0] == new.config


def test_nothing_is_restored_under_a_box_that_runs(used: Box) -> None:
    begun(used)
    used.run("up", "--no-prove")
    found = used.document("restore", "--yes", code=2)
    assert found["error"]["code"] == "restore-running"
    used.run("down")


def test_what_was_there_is_put_aside_and_a_second_restore_takes_it_back(used: Box) -> None:
    begun(used)
    used.run("backup", "create")
    with session(used.state / "appliance.db") as opened:
        suspend(opened, "owner", "anna")
    before = rows(used.state / "appliance.db")["suspension"]
    found = used.document("restore", "--yes", "--no-start")
    aside = Path(found["aside"])
    assert rows(used.state / "appliance.db")["suspension"] == []
    assert rows(aside / "appliance.db")["suspension"] == before
    assert (aside / "appliance.toml").exists()
    assert (used.state / "models").is_dir()


def test_without_restic_it_says_what_to_install(used: Box, tmp_path: Path) -> None:
    begun(used)
    (tmp_path / "bin").mkdir()
    found = used.document("backup", "create", code=3, env={"PATH": str(tmp_path / "bin")})
    assert found["error"]["code"] == "backup-tool-missing"
    (tmp_path / "bin" / "restic").write_text("#!/bin/sh\necho 'Fatal: the moon is in the way' >&2\nexit 1\n")
    (tmp_path / "bin" / "restic").chmod(0o755)
    found = used.document("backup", "create", code=1, env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"})
    assert found["error"]["code"] == "backup-failed"
    assert "the moon is in the way" in found["error"]["message"]
    assert not (used.state / "backup" / "stage").exists()


def test_one_at_a_time(used: Box) -> None:
    begun(used)
    home = Home(used.config, used.state)
    with backups.alone(home):
        assert used.document("backup", "create", code=1)["error"]["code"] == "backup-running"


def test_the_page_holds_still_while_its_index_is_copied(used: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    page = subprocess.Popen(["sleep", "60"], start_new_session=True)
    seen: list[str] = []

    def state() -> str:
        return Path(f"/proc/{page.pid}/stat").read_text().rpartition(")")[2].split()[0]

    copied = snapshot._copy_held

    def looking(source: Path, target: Path) -> None:
        wait_until(lambda: state() == "T", 5, "the page's standstill")
        seen.append(state())
        copied(source, target)

    monkeypatch.setattr(snapshot, "_copy_held", looking)
    try:
        snapshot.take(Home(used.config, used.state), used.folder / "stage", page.pid)
        assert seen == ["T"]
        wait_until(lambda: state() == "S", 5, "the page's going on")
    finally:
        page.kill()
        page.wait()


def test_old_backups_are_forgotten_by_the_rule(used: Box) -> None:
    begun(used)
    text = used.config.read_text()
    used.config.write_text(f"{text}keep_daily = 1\nkeep_weekly = 0\nkeep_monthly = 0\n")
    made = [used.document("backup", "create")["id"] for _ in range(3)]
    assert [one["id"] for one in used.document("backup", "list")] == made[-2:]


class CutOffError(Exception):
    """The power is gone."""


@contextmanager
def cut_after(moves: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Lose power at the n-th rename of anything."""
    done = 0
    rename = os.rename

    def counting(source: str, target: str) -> None:
        nonlocal done
        done += 1
        if done > moves:
            raise CutOffError
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", counting)
        yield


def test_a_restore_that_is_cut_off_at_any_move_is_ended_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = 0
    while True:
        folder = tmp_path / str(moves)
        home = Home(folder / "appliance.toml", folder / "var")
        restored = home.backup / "restored"
        for place, word in ((home.state, "old"), (restored / "state", "new")):
            (place / "chat").mkdir(parents=True)
            for name in ("appliance.db", "audit.key", "chat/webui.db"):
                (place / name).write_text(word)
        (home.state / "appliance.db-wal").write_text("old")
        (home.state / "models").mkdir()
        home.config.write_text("old")
        (restored / "config").mkdir()
        (restored / "config/appliance.toml").write_text("new")
        aside = home.state / "before-restore-1"
        try:
            with cut_after(moves, monkeypatch):
                putting.put(home, restored, aside, {"id": "1"})
            whole = True
        except CutOffError:
            whole = False
            # Somebody runs a command meanwhile, which makes a database of its own.
            if not home.database.exists():
                home.database.write_text("made meanwhile")
                (home.state / "appliance.db-wal").write_text("made meanwhile")
            if home.restoring.exists():
                assert putting.finish(home) == {"id": "1"}
            else:
                # It was cut off before it began.
                home.database.unlink(missing_ok=True)
                home.database.write_text("old")
        if whole or aside.exists():
            names = ("appliance.db", "audit.key", "chat/webui.db")
            assert [(home.state / name).read_text() for name in names] == ["new"] * 3, moves
            assert [(aside / name).read_text() for name in names] == ["old"] * 3, moves
            assert not (home.state / "appliance.db-wal").exists(), moves
            assert (home.state / "models").is_dir()
            assert home.config.read_text() == "new"
            assert not home.restoring.exists()
        if whole:
            break
        moves += 1
    assert moves == 7


def test_a_backup_of_a_newer_form_or_of_something_else_is_refused() -> None:
    about = {"format": FORMAT, "made_at": "2026-01-01T00:00:00Z", "version": "1", "revision": "1", "rows": {}}
    assert read_about(about).version == "1"
    with pytest.raises(NewerError):
        read_about(about | {"format": FORMAT + 1})
    others: list[Any] = [[], {}, {"format": "1"}, {"format": 1}]
    for other in others:
        with pytest.raises(ValueError, match=r"no backup|does not say"):
            read_about(other)


def test_a_copy_needs_room(used: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_ROOM", 2**60)
    with pytest.raises(ApplianceError) as caught:
        snapshot.take(Home(used.config, used.state), used.folder / "stage", None)
    assert caught.value.code == "disk-too-small"
    assert count_rows(used.state / "appliance.db")["api_key"] >= 1
