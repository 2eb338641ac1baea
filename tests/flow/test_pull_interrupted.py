"""A hundred interruptions: the line is cut, the process is killed, the server lies; the shelf stays sound."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.catalog.models import Model
from appliance.errors import KINDS
from appliance.units import KIB, MIB
from tests.support.box import environment
from tests.support.hub import Hub, model_file, row

SEED = 20_260
INTERRUPTIONS = 100

# What the server does, each as likely as the next. All but the last few may end well.
MOODS: list[dict[str, Any]] = [
    {},
    {"cut": 0.3},
    {"cut": 0.8},
    {"ranges": False},
    {"ranges": False, "cut": 0.8},
    {"flip": 1},
    {"flip": 1, "cut": 0.3},
    {"change_at": 6},
    {"fail": [503, 3, "0"]},
    {"fail": [429, 2, None], "cut": 0.3},
    {"gone_at": 9},
    {"flip": 999},
    {"longer": 1},
    {"longer": -1},
    {"restless": True},
]


@pytest.fixture
def puller() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.puller"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as child:
        yield child


def attempt(puller: subprocess.Popen[str], folder: Path, model: Model, kill_after: float | None) -> tuple[int, str]:
    """One pull, killed after some seconds unless it ends before; its exit code and the code of its error."""
    assert puller.stdin is not None
    assert puller.stdout is not None
    print(folder, model.source, model.size, model.sha256, file=puller.stdin, flush=True)
    pid = int(puller.stdout.readline())
    if kill_after is not None:
        time.sleep(kill_after)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _, code, *error = puller.stdout.readline().split()
    return int(code), "".join(error)


@pytest.mark.slow
@pytest.mark.alone
def test_a_hundred_interruptions_never_put_a_bad_file_on_the_shelf(
    tmp_path: Path, puller: subprocess.Popen[str]
) -> None:
    dice = random.Random(SEED)
    folder = tmp_path / "models"
    folder.mkdir()
    seen: Counter[str] = Counter()
    with Hub(SEED) as hub:
        file = model_file(tmp_path / "served.gguf", MIB + 4321)
        model = row(file, f"{hub.url}/cdn/file")
        while seen.total() - seen["whole"] < INTERRUPTIONS:
            hub.behave(file, rate=dice.choice([0, 2 * MIB, 8 * MIB]), **dice.choice(MOODS))
            kill_after = dice.uniform(0, 0.15) if dice.random() < 0.6 else None
            code, error = attempt(puller, folder, model, kill_after)
            assert code in (0, -signal.SIGKILL)
            here = list(folder.glob("*.gguf"))
            assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in here] == [model.sha256] * len(here)
            seen["killed" if code else error or "whole"] += 1
            if code == 0:
                assert bool(here) == (error == "")
                assert not error or error in KINDS
            for path in here:
                path.unlink()
        hub.behave(file)
        assert attempt(puller, folder, model, None) == (0, "")
        assert [path.name for path in folder.iterdir()] == [f"{model.sha256}.gguf"]
    assert seen["killed"] > INTERRUPTIONS / 4
    assert {"whole", "source-refused", "wrong-hash"} <= set(seen)


@pytest.mark.slow
@pytest.mark.alone
def test_a_killed_pull_goes_on_where_it_was(tmp_path: Path, puller: subprocess.Popen[str]) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    with Hub() as hub:
        file = model_file(tmp_path / "served.gguf", 2 * MIB)
        model = row(file, f"{hub.url}/cdn/file")
        hub.behave(file, rate=400 * KIB)
        assert attempt(puller, folder, model, 0.8)[0] == -signal.SIGKILL
        hub.behave(file)
        assert attempt(puller, folder, model, None) == (0, "")
        asked = [entry["range"] for entry in hub.log() if entry["path"].startswith("/cdn/")]
        # 32 pieces, and the first byte to begin with.
        assert 2 <= len(asked) < 32
