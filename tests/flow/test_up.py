"""`up`, `down` and `status`: everything starts, everything ends, and nobody else is touched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from appliance.supervise.where import supervisor_pid
from tests.support.box import Box, ask, environment, free_port, wait_until
from tests.support.engines import FakeEngine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[Box]:
    """A box that is up with an engine behind a URL, shared by the tests that leave it up."""
    made = configured(Box(tmp_path_factory.mktemp("up")), fake_engine)
    made.run("up", "--no-prove")
    yield made
    made.run("down")


@pytest.fixture
def fresh(box: Box, fake_engine: FakeEngine) -> Box:
    """A box that could be started."""
    return configured(box, fake_engine)


def configured(box: Box, engine: FakeEngine) -> Box:
    box.configure(f'engine_wait_s = 2\n[engines.chat]\nurl = "{engine.url}"\nmodel = "fake"\n')
    return box


def processes_of(box: Box) -> list[str]:
    """The command lines of all processes that work for a box."""
    found = (" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))
    return [line for line in found if str(box.folder) in line]


def gateway(status: dict[str, Any]) -> dict[str, Any]:
    """What `status --json` says of the gateway's process."""
    found: dict[str, Any] = next(process for process in status["processes"] if process["name"] == "serve")
    return found


def test_status_tells_health_address_engine_and_processes(up: Box) -> None:
    found = up.document("status")
    assert (found["healthy"], found["problems"]) == (True, [])
    assert found["urls"]["api"] == f"http://127.0.0.1:{up.port}/v1"
    assert [(engine["role"], engine["model"]) for engine in found["engines"]] == [("chat", "fake")]
    assert [(process["name"], process["state"]) for process in found["processes"]] == [("serve", "ready")]
    assert found["supervisor"] == supervisor_pid(up.state / "run")
    words = up.run("status").stdout
    assert words.startswith("Healthy")
    assert found["urls"]["api"] in words


def test_up_again_changes_nothing_and_says_so(up: Box) -> None:
    before = up.document("status")
    again = up.run("up")
    assert "It was up already." in again.stderr
    assert again.stdout == ""
    after = up.document("up")
    assert after["supervisor"] == before["supervisor"]
    assert gateway(after)["pid"] == gateway(before)["pid"]


def test_up_says_when_the_settings_have_changed_since(up: Box) -> None:
    text = up.config.read_text()
    assert "settings have changed" not in up.run("up").stderr
    try:
        up.config.write_text(text.replace("engine_wait_s = 2", "engine_wait_s = 3"))
        assert "settings have changed" in up.run("up").stderr
    finally:
        up.config.write_text(text)


def test_a_killed_gateway_comes_back(up: Box) -> None:
    before = gateway(up.document("status"))
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: gateway(up.document("up"))["restarts"] == before["restarts"] + 1)
    assert up.document("status")["healthy"]


def test_foreground_is_refused_when_it_is_up_already(up: Box) -> None:
    assert "already-serving" in up.run("up", "--foreground", code=1).stderr
    assert up.document("status")["healthy"]


def test_down_ends_what_up_started_and_nothing_else(fresh: Box, fake_engine: FakeEngine) -> None:
    command = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)", "appliance", "serve"]
    with subprocess.Popen(command) as stranger:
        try:
            fresh.run("up", "--no-prove")
            assert len(processes_of(fresh)) == 2, "supervisor and gateway"
            assert fresh.document("down") == {"was_running": True}
            wait_until(lambda: not processes_of(fresh), 2)
            assert stranger.poll() is None
            assert fake_engine.stats()
            assert "It was not running." in fresh.run("down").stderr
            assert fresh.document("down") == {"was_running": False}
        finally:
            stranger.kill()
    found = fresh.document("status", code=1)
    assert not found["healthy"]
    assert "appliance up" in found["problems"][0]


def test_down_is_fine_where_nothing_was_ever_started(box: Box) -> None:
    assert box.document("down") == {"was_running": False}
    assert not box.state.exists()


def test_two_ups_at_once_share_one_start(fresh: Box) -> None:
    pair = [
        subprocess.Popen(fresh.argv("up"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1].decode() for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    assert sum("It was up already." in words for words in said) == 1
    assert len([line for line in processes_of(fresh) if "appliance.supervise" in line]) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_foreground_runs_until_it_is_interrupted_and_ends_all(fresh: Box, number: int) -> None:
    command = fresh.argv("up", "--foreground")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) as run:
        assert run.stderr is not None
        said = [next(line for line in run.stderr if line.startswith("Ready."))]
        assert fresh.document("status")["healthy"]
        run.send_signal(number)
        said.append(run.communicate(timeout=30)[1])
    assert run.returncode == 0, said
    wait_until(lambda: not processes_of(fresh), 2)


def test_foreground_ends_when_somebody_says_down(fresh: Box) -> None:
    with subprocess.Popen(
        fresh.argv("up", "--foreground"), stderr=subprocess.PIPE, text=True, env=environment()
    ) as run:
        assert run.stderr is not None
        next(line for line in run.stderr if line.startswith("Ready."))
        fresh.run("down")
        assert run.wait(10) == 0


def test_a_taken_port_stops_up_before_anything_runs(fresh: Box) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", fresh.port))
        taken.listen()
        assert "port-taken" in fresh.run("up", code=1).stderr
    assert not processes_of(fresh)


def test_a_gateway_that_cannot_start_fails_up_with_its_last_words(fresh: Box) -> None:
    fresh.serve()
    # A gateway of somebody's own works on this state folder, on another port.
    fresh.port, before = free_port(), fresh.port
    fresh.config.write_text(fresh.config.read_text().replace(str(before), str(fresh.port)))
    failed = fresh.run("up", code=1).stderr
    assert "Error (process-failed): 'serve' does not stay up (exit code 1)" in failed
    assert "already-serving" in failed
    fresh.stop()
    assert not processes_of(fresh)


def test_a_gateway_that_fails_later_is_told_by_up_and_status_and_recovers(fresh: Box) -> None:
    fresh.run("up", "--no-prove")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        os.kill(gateway(fresh.document("status"))["pid"], signal.SIGKILL)
        wait_until(lambda: bound(taken, fresh.port), what="the killed gateway's port")
        error = fresh.document("up", code=1)["error"]
        assert error["code"] == "process-failed"
        assert "port-taken" in error["message"]
        found = fresh.document("status", code=1)
        assert found["problems"] == ["'serve' is failed: see `appliance logs serve`."]
    wait_until(lambda: fresh.answers("/ready"), what="another try")


def bound(listener: socket.socket, port: int) -> bool:
    """Whether a port could be taken."""
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return False
    listener.listen()
    return True


def test_after_a_killed_supervisor_up_starts_cleanly_even_with_answers_under_way(fresh: Box, tmp_path: Path) -> None:
    fresh.run("up", "--no-prove")
    before = fresh.document("status")
    key = fresh.key()
    asking = subprocess.Popen(fresh.argv("chat", "tokens=1000 delay=50"), stdout=subprocess.PIPE, env=environment())
    with asking:
        assert asking.stdout is not None
        asking.stdout.read(1)
        os.kill(before["supervisor"], signal.SIGKILL)
        after = fresh.document("up")
        assert after["supervisor"] != before["supervisor"]
        assert asking.wait(10) == 1
    assert fresh.post(ask(), key)[0] == 200
    assert len(processes_of(fresh)) == 2
