"""What a backup of much data costs: how long it takes beside everybody's work, whom it holds up, how soon all is back.

    python -m bench.backup [--mb N]

Fills a box with so many megabytes (1000): documents, conversations, ledger; most of it cannot be compressed. While
four people ask ten times a second and somebody writes into the chat page's database, makes a backup, and then a second
one. Restores it on an empty box, and starts that. Says how long each took, the longest wait of anybody beside the
longest one without a backup, and whether what came back is the same.

Exit status: 0 all limits kept, 1 a limit broken, 2 nothing could be measured.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench import tools
from bench.report import Check, limits_table
from tests.support.box import Box, ask
from tests.support.engines import FakeEngine

BACKUP_S: Final = 10.0
STALL_MS: Final = 300.0
BACK_S: Final = 60.0
_MB: Final = 1_000_000
_DOCUMENT: Final = 4 * _MB
_TEXT: Final = 20_000
_PEOPLE: Final = 4
_CALM_S: Final = 8.0
_PAUSE_S: Final = 0.01
_BETWEEN_S: Final = 0.1


@dataclass
class Waits:
    """The longest that anybody waited, in seconds: for an answer, and for a row of the chat page to be committed."""

    answer: float = 0.0
    commit: float = 0.0
    failed: list[str] = field(default_factory=list)

    @property
    def words(self) -> str:
        """Both, in milliseconds."""
        return f"{self.answer * 1000:.0f} ms for an answer, {self.commit * 1000:.0f} for a commit"


def fill(box: Box, megabytes: int) -> None:
    """Four tenths documents, five tenths conversations, one tenth ledger. Half of a conversation is chance."""
    chat = box.state / "chat"
    for name in ("uploads", "vector_db"):
        (chat / name).mkdir(parents=True)
    for number in range(4 * megabytes * _MB // 10 // _DOCUMENT):
        (chat / "uploads" / f"{number}.pdf").write_bytes(os.urandom(_DOCUMENT))
    with closing(sqlite3.connect(chat / "webui.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE chat (id INTEGER PRIMARY KEY, text BLOB)")
        half = b"what they said, over and over; " * (_TEXT // 62)
        count = 5 * megabytes * _MB // 10 // _TEXT
        connection.executemany(
            "INSERT INTO chat (text) VALUES (?)", ((half + os.urandom(_TEXT // 2),) for _ in range(count))
        )
        connection.commit()
    with closing(sqlite3.connect(box.state / "appliance.db")) as connection:
        columns = [
            row[1] for row in connection.execute("PRAGMA table_info(call)") if row[1] not in ("id", "request_id")
        ]
        names, rows = ", ".join(columns), megabytes * _MB // 10 // 200
        (one,) = connection.execute("SELECT min(id) FROM call").fetchone()
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
            f"INSERT INTO call (request_id, {names}) SELECT hex(randomblob(16)), {names} FROM call, n WHERE id = ?",
            (rows, one),
        )
        connection.commit()


@contextmanager
def at_work(box: Box, key: str) -> Iterator[Waits]:
    """People ask, and the chat page writes, as long as the block lasts."""
    stop, waits = threading.Event(), Waits()

    def asks() -> None:
        while not stop.wait(_BETWEEN_S):
            began = time.monotonic()
            status, said = box.post(ask("tokens=3"), key)[:2]
            waits.answer = max(waits.answer, time.monotonic() - began)
            if status != 200:
                waits.failed.append(str(said))

    def writes() -> None:
        with closing(sqlite3.connect(box.state / "chat/webui.db", timeout=30)) as connection:
            while not stop.wait(_PAUSE_S):
                began = time.monotonic()
                connection.execute("INSERT INTO chat (text) VALUES ('hello')")
                connection.commit()
                waits.commit = max(waits.commit, time.monotonic() - began)

    threads = [threading.Thread(target=work) for work in (*[asks] * _PEOPLE, writes)]
    for thread in threads:
        thread.start()
    try:
        yield waits
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def took(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def measure(folder: Path, megabytes: int) -> tuple[list[str], list[Check]]:
    """The figures in words, and those that have a limit."""
    with FakeEngine() as engine:
        box = Box(folder / "old")
        box.configure(f'[engines.chat]\nurl = "{engine.url}"\nmodel = "fake"\n')
        key = box.key()
        box.serve()
        box.post(ask("tokens=3"), key)
        box.stop()
        fill(box, megabytes)
        words = str(box.document("backup", "set-up", str(folder / "usb"))["recovery_key"])
        box.serve()
        try:
            with at_work(box, key) as calm:
                time.sleep(_CALM_S)
            with at_work(box, key) as busy:
                first = took(lambda: box.run("backup", "create"))
            with at_work(box, key) as again:
                second = took(lambda: box.run("backup", "create"))
        finally:
            box.stop()
        box.run("backup", "create")
        verified = took(lambda: box.run("backup", "verify"))
        new = Box(folder / "new")

        def back() -> None:
            new.run("restore", "--from", str(folder / "usb"), "--key-stdin", "--no-start", given=words, timeout=600)
            new.port = box.port
            new.serve()

        restored = took(back)
        new.stop()
        same = _sums(box) == _sums(new)
    stall = max(busy.answer, busy.commit, again.answer, again.commit) * 1000
    failed = [*calm.failed, *busy.failed, *again.failed]
    said = [
        f"- first backup {first:.1f} s, second {second:.1f} s, all read through in {verified:.1f} s",
        f"- the longest waits without a backup: {calm.words}",
        f"- beside the first: {busy.words}",
        f"- beside the second: {again.words}",
    ]
    return said, [
        Check(f"s, a backup of {megabytes} MB under load", first, BACKUP_S),
        Check("ms, the longest that anybody waits meanwhile", stall, STALL_MS),
        Check("answers failed meanwhile", len(failed), 0),
        Check("s until it is restored on an empty box, and serves", restored, BACK_S),
        Check("files and tables that are not the same", int(not same), 0),
    ]


def _sums(box: Box) -> dict[str, str]:
    """Digests of all documents, and of all rows of the tables that work goes into."""
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (box.state / "chat/uploads").iterdir()
    }
    for file, table in (("appliance.db", "call"), ("chat/webui.db", "chat")):
        sums = hashlib.sha256()
        with closing(sqlite3.connect(box.state / file)) as connection:
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY id"):
                sums.update(repr(row).encode())
        found[table] = sums.hexdigest()
    return found


def main() -> int:
    """Measure, print the table and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.backup", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mb", type=int, default=1000, choices=range(10, 100_001), metavar="N")
    chosen = parser.parse_args()
    if shutil.which("restic") is None:
        print("bench: restic is not installed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in ("old", "new"):
            (Path(folder) / name).mkdir()
        said, checks = measure(Path(folder), chosen.mb)
    print("\n".join([tools.place(), "", *said, "", *limits_table(checks)]))
    return 0 if all(one.kept for one in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
