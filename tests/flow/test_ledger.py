"""No record, no answer: the ledger under kill -9, a full disk, and a second instance."""

from __future__ import annotations

import concurrent.futures
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.box import Box, ask, environment, wait_until
from tests.support.engines import FakeEngine

CLIENTS = 10
REQUESTS = 200
KILLS = 20


def whole_answers(port: int, key: str, count: int, seed: int) -> list[str]:
    """Send requests one after another; the request ids of the answers that arrived whole."""
    dice = random.Random(seed)
    whole = []
    for _ in range(count):
        streamed = dice.random() < 0.5
        body = json.dumps(ask("tokens=6 delay=1", stream=streamed)).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\nconnection: close\r\n"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
                opened.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
                said = b""
                while piece := opened.recv(65536):
                    said += piece
        except OSError:
            continue
        head_bytes, _, rest = said.partition(b"\r\n\r\n")
        # A finish reason is already a complete answer to a reader, [DONE] or not.
        if b'"finish_reason":"stop"' in rest.replace(b'": "', b'":"'):
            fields = dict(line.split(b": ", 1) for line in head_bytes.split(b"\r\n")[1:])
            whole.append(fields[b"x-request-id"].decode())
    return whole


def kill_under_load(box: Box, key: str, seed: int) -> list[str]:
    """One round: ten clients, 200 requests in all, kill -9 at a random moment."""
    process = box.serve()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        work = [pool.submit(whole_answers, box.port, key, REQUESTS // CLIENTS, seed * 100 + n) for n in range(CLIENTS)]
        time.sleep(random.Random(seed).uniform(0.05, 0.6))
        process.kill()
        process.wait(10)
        return [request_id for done in work for request_id in done.result()]


@pytest.mark.slow
@pytest.mark.alone
def test_kill_9_under_load_loses_no_finished_answer_and_charges_nothing_twice(
    box: Box, fake_engine: FakeEngine
) -> None:
    box.configure(f'[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    box.serve()
    key = box.key()
    box.stop()
    whole = [request_id for seed in range(KILLS) for request_id in kill_under_load(box, key, seed)]
    box.serve()
    box.stop()
    rows = {row["request_id"]: row for row in box.rows()}
    database = sqlite3.connect(box.state / "appliance.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert database.execute("SELECT count(*), count(DISTINCT request_id) FROM call").fetchone() == (len(rows),) * 2
    assert database.execute("SELECT count(*) FROM call WHERE settled_at IS NULL").fetchone() == (0,)
    database.close()
    assert len(whole) == len(set(whole)) > KILLS, "the kills left some answers whole"
    assert {rows[request_id]["outcome"] for request_id in whole} == {"complete"}
    assert any(row["outcome"] == "interrupted" for row in rows.values()), "the kills cut some answers off"


def test_a_second_gateway_on_one_state_folder_is_refused(served: Box) -> None:
    done = served.run("serve", "--port", "1", code=1)
    assert "already-serving" in done.stderr
    assert served.get("/health")[0] == 200


SMALL_DISK = """
set -eu
mkdir -p "$1"
mount -t tmpfs -o size=8m tmpfs "$1"
shift
exec "$@"
"""


@pytest.fixture
def small_disk(box: Box, fake_engine: FakeEngine) -> Path:
    """A gateway whose state folder is an 8 MiB file system of its own; returns that folder as seen from outside."""
    box.configure(f'[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    shell = ["unshare", "--mount", "--map-root-user", "sh", "-c", SMALL_DISK, "sh", str(box.state)]
    if os.geteuid() == 0:
        shell.remove("--map-root-user")
    log = (box.folder / "serve.log").open("ab")
    box.process = subprocess.Popen([*shell, *box.argv("serve")], stdout=log, stderr=log, env=environment())
    log.close()
    wait_until(lambda: box.answers("/health"), what="the gateway's health")
    return Path(f"/proc/{box.process.pid}/root{box.state}")


@pytest.mark.slow
@pytest.mark.alone
def test_a_full_disk_refuses_clearly_and_service_returns_with_room(box: Box, small_disk: Path) -> None:
    key = make_key(small_disk, box)
    assert box.post(ask(), key)[0] == 200
    filler = small_disk / "filler"
    filler.write_bytes(b"")
    with filler.open("ab", buffering=0) as file:
        for size in (4096, 512, 16):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    refused = [box.post(ask(stream=streamed), key) for streamed in (False, True) for _ in range(60)]
    errors = {said["error"]["code"] for status, _, said in refused if status != 200}
    assert errors == {"disk-full"}, "refused, and by that name only"
    assert refused[-1][0] == 503
    assert refused[-1][1]["retry-after"] == "30"
    assert box.get("/health")[0] == 200
    filler.unlink()
    status, headers, _ = box.post(ask(), key)
    assert status == 200, "service returns by itself"
    copied = box.folder / "copy"
    shutil.copytree(small_disk, copied)
    database = sqlite3.connect(copied / "appliance.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = database.execute("SELECT outcome FROM call WHERE request_id = ?", (headers["x-request-id"],)).fetchone()
    assert found == ("complete",)
    complete = database.execute("SELECT count(*) FROM call WHERE outcome = 'complete'").fetchone()[0]
    database.close()
    assert complete == 2 + sum(status == 200 for status, _, _ in refused)


def make_key(state: Path, box: Box) -> str:
    """A key, made by a command inside the gateway's own mount namespace."""
    assert box.process is not None
    inside = ["nsenter", f"--mount=/proc/{box.process.pid}/ns/mnt"]
    if os.geteuid() != 0:
        inside += [f"--user=/proc/{box.process.pid}/ns/user", "--preserve-credentials"]
    done = subprocess.run(
        [*inside, *box.argv("keys", "create", "--owner", "anna", "--json")],
        capture_output=True, text=True, check=True, env=environment(), cwd="/",
    )  # fmt: skip
    assert (state / "appliance.db").exists()
    return str(json.loads(done.stdout)["key"])


def test_open_rows_of_an_earlier_run_are_swept_as_interrupted(box: Box, fake_engine: FakeEngine) -> None:
    box.configure(f'[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    process = box.serve()
    body = json.dumps(ask("wait=20000")).encode()
    with socket.create_connection(("127.0.0.1", box.port)) as opened:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {box.key()}\r\n"
        opened.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: [row["outcome"] for row in box.rows()] == ["open"], what="the open row")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    box.serve()
    row = box.rows()[0]
    assert (row["outcome"], row["exact"]) == ("interrupted", False)
    assert row["settled_at"]
