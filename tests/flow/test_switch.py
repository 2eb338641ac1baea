"""The gateway takes one deployment after another while it serves, and nobody notices."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import os
import pty
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.paths import find_home
from appliance.deployment import Deployment, Engine
from appliance.store import handover
from tests.support.box import Box, ask, environment, wait_until
from tests.support.engines import FakeEngine

CLIENTS = 8
SWITCHES = 20
# What the gateway gives those who are being answered when it ends, and what a busy machine adds.
GRACE_S = 5 + 3


def engine(name: str, fake: FakeEngine, role: str = "chat", **more: Any) -> Engine:
    """A fake engine as a deployment has it; its model is what the fake one says it is."""
    return Engine(role, name, (role, name), name, url=fake.url, **more)


@dataclass
class Control:
    """The control plane's part: writes deployments, signals, and waits until they are served."""

    box: Box
    serial: int = 0

    def write(self, *engines: Engine) -> None:
        """Hand over some engines, without a word to the gateway."""
        self.serial += 1
        handover.write(self.box.state / "deployment.json", Deployment("1", engines, self.serial))

    def signal(self) -> None:
        """Tell the gateway to look."""
        assert self.box.process is not None
        self.box.process.send_signal(signal.SIGHUP)

    def switch(self, *engines: Engine) -> None:
        """Hand over some engines; returns once they are served."""
        self.write(*engines)
        self.signal()
        wait_until(lambda: self.ready()["serial"] == self.serial, 10, "the new deployment")

    def ready(self) -> dict[str, Any]:
        """What `/ready` says."""
        said: dict[str, Any] = self.box.get("/ready")[2]
        return said


@pytest.fixture(scope="module")
def engines() -> Iterator[tuple[FakeEngine, FakeEngine]]:
    """Two engines that know their names."""
    with FakeEngine("a") as a, FakeEngine("b") as b:
        yield a, b


@pytest.fixture
def control(box: Box) -> Control:
    """A control plane without a gateway yet."""
    find_home(box.config, box.state).prepare()
    return Control(box)


@pytest.fixture
def switched(control: Control, engines: tuple[FakeEngine, FakeEngine]) -> Control:
    """A gateway that serves engine a."""
    control.write(engine("a", engines[0]))
    control.box.serve()
    return control


@dataclass
class Answered:
    """One answer: its request's id and the model that gave it, empty when it is not whole."""

    request_id: str
    model: str


def whole_answer(connection: http.client.HTTPConnection, key: str, streamed: bool, orders: str) -> Answered:
    """Ask once on a connection that is kept."""
    body = json.dumps(ask(orders, stream=streamed))
    connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
    response = connection.getresponse()
    said = response.read().decode()
    if response.status != 200 or (streamed and not said.endswith("data: [DONE]\n\n")):
        return Answered(response.headers["x-request-id"], "")
    first = said.partition("\n\n")[0].removeprefix("data: ")
    return Answered(response.headers["x-request-id"], json.loads(first)["model"])


def keep_asking(box: Box, key: str, number: int, over: threading.Event) -> list[Answered]:
    """One client in a closed loop: streams and plain requests by turns, on one connection."""
    dice, seen = random.Random(number), list[Answered]()
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=30)
    while not over.is_set():
        orders = f"tokens={dice.randint(1, 20)} delay={dice.randint(0, 3)}"
        seen.append(whole_answer(connection, key, (len(seen) + number) % 2 == 0, orders))
    connection.close()
    return seen


@contextmanager
def asked_in_the_background(box: Box, key: str, **more: Any) -> Iterator[concurrent.futures.Future[Any]]:
    """A request that may take its time."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield pool.submit(box.post, ask(**more), key)


def silent(opened: socket.socket, seconds: float = 0.3) -> bool:
    """Whether nothing comes for a while."""
    opened.settimeout(seconds)
    try:
        return opened.recv(1, socket.MSG_PEEK) == b"never"
    except TimeoutError:
        return True


def test_clients_do_not_notice_twenty_switches(switched: Control, engines: tuple[FakeEngine, FakeEngine]) -> None:
    box, key, over = switched.box, switched.box.key(), threading.Event()
    before = [fake.stats()["finished"] for fake in engines]
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        work = [pool.submit(keep_asking, box, key, number, over) for number in range(CLIENTS)]
        try:
            for number in range(SWITCHES):
                time.sleep(0.1)
                switched.switch(engine(*[("b", engines[1]), ("a", engines[0])][number % 2]))
        finally:
            over.set()
        seen = {answered.request_id: answered.model for done in work for answered in done.result()}
    rows = {row["request_id"]: row for row in box.rows()}
    assert {row["outcome"] for row in rows.values()} == {"complete"}
    assert {request_id: row["model"] for request_id, row in rows.items()} == seen
    counted = [list(seen.values()).count(name) for name in ("a", "b")]
    assert counted == [fake.stats()["finished"] - asked for fake, asked in zip(engines, before, strict=True)]
    assert min(counted) > SWITCHES
    said = switched.ready()
    assert (said["ready"], said["busy"], said["leaving"]) == (True, {"chat": 0}, 0)


@pytest.mark.slow
@pytest.mark.parametrize("side_by_side", [True, False])
def test_clients_do_not_notice_that_engines_end(control: Control, side_by_side: bool) -> None:
    """Where both do not fit into memory, the old engine ends before the new one starts, and requests wait."""
    old, over = FakeEngine("0"), threading.Event()
    control.write(engine("0", old))
    box = control.box
    box.serve()
    key = box.key()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        work = [pool.submit(keep_asking, box, key, number, over) for number in range(CLIENTS)]
        try:
            for name in ("1", "2", "3"):
                if side_by_side:
                    new = FakeEngine(name)
                    control.switch(engine(name, new))
                    wait_until(lambda: control.ready()["leaving"] == 0, what="the end of the old engine's work")
                    old.kill()
                else:
                    control.switch(engine(str(int(name) - 1), old, held=True))
                    wait_until(lambda: control.ready()["busy"] == {"chat": 0}, what="the end of the old engine's work")
                    old.kill()
                    new = FakeEngine(name)
                    control.switch(engine(name, new))
                old = new
                time.sleep(0.3)
        finally:
            over.set()
        seen = {answered.request_id: answered.model for done in work for answered in done.result()}
    old.kill()
    rows = box.rows()
    assert {row["outcome"] for row in rows} == {"complete"}
    assert {row["request_id"]: row["model"] for row in rows} == seen
    assert set(seen.values()) == {"0", "1", "2", "3"}


def test_an_engine_may_be_ended_once_nothing_is_leaving(
    control: Control, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    with FakeEngine("old") as old:
        control.write(engine("old", old))
        box = control.box
        box.serve()
        key = box.key()
        long = box.open(key, ask("tokens=40 delay=40", stream=True))
        while b"word" not in long.recv(4096):
            pass
        assert control.ready()["busy"] == {"chat": 1}
        control.switch(engine("b", engines[1]))
        said = control.ready()
        assert (said["busy"], said["leaving"]) == ({"chat": 0}, 1)
        assert box.post(ask(), key)[2]["model"] == "b"
        assert box.post({**ask(), "model": "old"}, key)[2]["error"]["code"] == "model-not-found"
        assert {entry["id"] for entry in box.get("/v1/models", key)[2]["data"]} == {"auto", "chat", "b"}
        assert control.ready()["leaving"] == 1
        rest = b""
        while b"[DONE]" not in rest:
            piece = long.recv(65536)
            assert piece, "the old engine's answer ends as it should"
            rest += piece
        long.close()
        wait_until(lambda: control.ready()["leaving"] == 0, 5, "the end of the old engine's work")
    assert [box.post(ask(stream=streamed), key)[0] for streamed in (True, False)] == [200, 200]
    assert [row["model"] for row in box.rows()] == ["b", "b", "b", "old"]
    assert {row["outcome"] for row in box.rows()} == {"complete"}


def test_requests_wait_while_their_engine_is_exchanged(
    switched: Control, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    box, key = switched.box, switched.box.key()
    switched.switch(engine("a", engines[0], held=True))
    status, _, said = box.get("/ready")
    assert (status, said["ready"], said["parts"]) == (200, True, {"chat": "held", "ledger": "ready", "audit": "ready"})
    with asked_in_the_background(box, key) as plain, asked_in_the_background(box, key, stream=True) as stream:
        time.sleep(0.5)
        assert (plain.done(), stream.done(), box.rows()) == (False, False, [])
        assert switched.ready()["busy"] == {"chat": 0}
        switched.switch(engine("b", engines[1]))
        assert plain.result(10)[2]["model"] == "b"
        assert b'"model":"b"' in stream.result(10)[2]
    rows = box.rows()
    assert [(row["model"], row["outcome"]) for row in rows] == [("b", "complete")] * 2
    assert min(row["queue_ms"] for row in rows) >= 500
    assert min(row["first_token_ms"] for row in rows) >= 500


def test_a_held_engine_that_comes_back_answers_those_who_waited(
    switched: Control, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    box, one = switched.box, engine("a", engines[0])
    key = box.key()
    switched.switch(replace(one, held=True))
    with asked_in_the_background(box, key, model="chat") as plain:
        time.sleep(0.2)
        switched.switch(one)
        assert plain.result(10)[2]["model"] == "a"


def test_a_client_that_hangs_up_while_it_is_held_leaves_nothing(
    control: Control, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    box = control.box
    box.configure("requests_at_once = 1\n")
    control.write(engine("a", engines[0], held=True))
    box.serve()
    key = box.key()
    first = box.open(key, ask())
    assert silent(first)
    assert box.post(ask(), key)[2]["error"]["code"] == "too-many-requests"
    first.close()
    wait_until(lambda: has_room(box, key), 5, "the place given back")
    assert box.rows() == []
    control.switch(engine("b", engines[1]))
    assert box.post(ask(), key)[2]["model"] == "b"
    assert [row["outcome"] for row in box.rows()] == ["complete"]
    assert "Traceback" not in (box.folder / "serve.log").read_text()


def has_room(box: Box, key: str) -> bool:
    """Whether a key that may have one request under way has none; held, it gets no answer."""
    opened = box.open(key, ask())
    found = silent(opened)
    opened.close()
    return found


@pytest.mark.slow
def test_the_gateway_ends_while_requests_are_held(switched: Control, engines: tuple[FakeEngine, FakeEngine]) -> None:
    box, key = switched.box, switched.box.key()
    switched.switch(engine("a", engines[0], held=True))
    with asked_in_the_background(box, key) as plain, asked_in_the_background(box, key, stream=True) as stream:
        time.sleep(0.3)
        began = time.monotonic()
        box.stop()
        assert time.monotonic() - began < GRACE_S
        for asked in (plain, stream):
            status, headers, said = asked.result(10)
            assert (status, said["error"]["code"], headers["retry-after"]) == (503, "engine-unavailable", "30")
    assert box.rows() == []
    assert "Traceback" not in (box.folder / "serve.log").read_text()


def test_a_file_that_is_no_deployment_changes_nothing(switched: Control) -> None:
    box, key, file = switched.box, switched.box.key(), switched.box.state / "deployment.json"
    newer = '{"release": "9", "engines": [{"role": "chat", "colour": 1}]}'
    for number, text in enumerate(("", "{", newer, '{"release": "1", "engines": []}', None), 1):
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        switched.signal()
        wait_until(lambda said=number: refused_files(box) == said, 5, "a line in the log")
        assert box.post(ask(), key)[2]["model"] == "a"
        said = switched.ready()
        assert (said["ready"], said["serial"]) == (True, 1)


def refused_files(box: Box) -> int:
    """How often the gateway's log says that it stays with what it serves."""
    return (box.folder / "serve.log").read_text().count('"event":"deployment-not-taken"')


def test_a_signal_before_the_gateway_serves_is_neither_its_end_nor_lost(
    control: Control, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    control.write(engine("a", engines[0]))
    process = control.box.serve(wait=False)
    wait_until(lambda: ignores(process.pid, signal.SIGHUP), what="the request path's first step")
    control.write(engine("b", engines[1]))
    while not control.box.answers("/health"):
        control.signal()
        time.sleep(0.01)
        assert process.poll() is None
    assert control.ready()["serial"] == 2
    assert control.box.post(ask(), control.box.key())[2]["model"] == "b"


def ignores(pid: int, number: int) -> bool:
    """Whether a process ignores a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) & 1 << (number - 1))


def test_engines_behind_a_url_stay_through_every_switch(
    control: Control, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    box = control.box
    box.configure(f'[engines.chat]\nurl = "{engines[0].url}"\nmodel = "a"\n')
    box.serve()
    key = box.key()
    assert control.ready()["serial"] == 0
    control.switch(engine("b", engines[1]), engine("b", engines[1], role="side"))
    assert [box.post({**ask(), "model": name}, key)[2]["model"] for name in ("chat", "side")] == ["a", "b"]
    control.switch()
    assert box.post(ask(), key)[2]["model"] == "a"
    assert box.post({**ask(), "model": "side"}, key)[2]["error"]["code"] == "model-not-found"


def test_an_engine_that_stays_keeps_its_connections(control: Control) -> None:
    with FakeEngine("a") as a, FakeEngine("b") as b:
        control.write(engine("a", a))
        box = control.box
        box.serve()
        key = box.key()
        for side in (a, b, a):
            assert box.post(ask(), key)[0] == 200
            control.switch(engine("a", a), engine("s", side, role="side"))
        control.switch(engine("a", a, held=True))
        control.switch(engine("a", a))
        assert box.post(ask(), key)[0] == 200
        assert (a.stats()["asked"], a.stats()["connections"]) == (4, 1)


def test_a_gateway_ends_with_the_terminal_that_it_was_started_on(
    control: Control, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    control.write(engine("a", engines[0]))
    ours, theirs = pty.openpty()
    box = control.box
    with (box.folder / "serve.log").open("ab") as log:
        box.process = subprocess.Popen(
            ["setsid", "--ctty", *box.argv("serve")], stdin=theirs, stdout=log, stderr=log, env=environment()
        )
    os.close(theirs)
    wait_until(lambda: box.answers("/health"), what="the gateway's health")
    control.switch(engine("b", engines[1]))
    os.close(ours)
    box.process.wait(GRACE_S)
