"""A batch on a disk that fills up: uploads are refused, and the batch goes on once there is room."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.flow.test_ledger import make_key
from tests.support.batches import begin, data, line, results, until, upload
from tests.support.box import Box, environment, wait_until
from tests.support.engines import FakeEngine

# More than the gateway leaves free.
DISK = 'set -eu; mkdir -p "$1"; mount -t tmpfs -o size=80m tmpfs "$1"; shift; exec "$@"'


@pytest.mark.slow
def test_a_batch_outlasts_a_full_disk(box: Box, fake_engine: FakeEngine) -> None:
    box.configure(f'[engines.chat]\nurl = "{fake_engine.url}"\nmodel = "fake"\n')
    shell = ["unshare", "--mount", "--map-root-user", "sh", "-c", DISK, "sh", str(box.state)]
    if os.geteuid() == 0:
        shell.remove("--map-root-user")
    with (box.folder / "serve.log").open("ab") as log:
        box.process = subprocess.Popen([*shell, *box.argv("serve")], stdout=log, stderr=log, env=environment())
    wait_until(lambda: box.answers("/health"), what="the gateway's health")
    state = Path(f"/proc/{box.process.pid}/root{box.state}")
    key = make_key(state, box)
    id = begin(box, key, [line(f"r{n}", "tokens=1 delay=20") for n in range(60)])
    until(box, key, id, "in_progress", done=5)
    filler = state / "filler"
    with filler.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 16):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    status, said = upload(box, key, data([line("a")]))
    assert (status, said["error"]["code"]) == (503, "disk-full")
    wait_until(lambda: "disk-full" in (box.folder / "serve.log").read_text(), what="a refusal of the ledger")
    assert box.get("/health")[0] == 200
    filler.unlink()
    assert upload(box, key, data([line("a")]))[0] == 200
    found = until(box, key, id, seconds=90)
    assert (found["status"], found["request_counts"]["completed"]) == ("completed", 60)
    good, bad = results(box, key, found)
    assert (sorted(one["custom_id"] for one in good), bad) == (sorted(f"r{n}" for n in range(60)), [])
