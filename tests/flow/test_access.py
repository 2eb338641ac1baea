"""Who gets in: keys with terms, rotation and suspension on a real gateway, with connections that stay open."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from typing import Any

import pytest

from tests.support.box import Box, ask, wait_until


def made(box: Box, owner: str, *words: str) -> Any:
    """A new key, as its document."""
    return box.document("keys", "create", "--owner", owner, *words)


def code(answer: tuple[int, dict[str, str], Any]) -> tuple[int, str]:
    """Status and code of a refusal."""
    return answer[0], answer[2]["error"]["code"]


class Program:
    """A program that asks over one connection that stays open."""

    def __init__(self, box: Box, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=60)
        self._key = key

    def ask(self) -> tuple[int, str]:
        """Status, and code where it is refused."""
        self._connection.request(
            "POST", "/v1/chat/completions", json.dumps(ask("tokens=1")), {"authorization": f"Bearer {self._key}"}
        )
        response = self._connection.getresponse()
        said = json.loads(response.read())
        return response.status, "" if response.status == 200 else said["error"]["code"]

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


def test_a_key_for_some_endpoints_is_refused_at_the_others(served: Box) -> None:
    key = made(served, "endpoints", "--endpoint", "embeddings", "--endpoint", "models")["key"]
    status, _, said = served.post(ask(), key)
    assert (status, said["error"]["code"], said["error"]["type"]) == (403, "endpoint-not-allowed", "permission_error")
    assert "embeddings, models" in said["error"]["message"]
    assert served.get("/v1/models", key)[0] == 200
    key = made(served, "endpoints", "--endpoint", "chat")["key"]
    assert served.post(ask(), key)[0] == 200
    assert code(served.get("/v1/models", key)) == (403, "endpoint-not-allowed")


@pytest.mark.parametrize(
    ("allowed", "may", "sees"),
    [
        # By the public name only that name; by the catalogue's id every name that it serves.
        ("chat", {"chat"}, {"auto", "chat"}),
        ("fake", {"chat", "fake"}, {"auto", "chat", "fake"}),
        ("other", set(), set()),
    ],
)
def test_a_key_for_some_models_is_refused_the_others_and_does_not_see_them(
    served: Box, allowed: str, may: set[str], sees: set[str]
) -> None:
    key = made(served, "models", "--model", allowed)["key"]
    assert {model["id"] for model in served.get("/v1/models", key)[2]["data"]} == sees
    rows = len(served.rows())
    for name in ("chat", "fake"):
        answer = served.post(ask("tokens=1") | {"model": name}, key)
        if name in may:
            assert answer[0] == 200
        else:
            assert code(answer) == (403, "model-not-allowed")
            assert answer[2]["error"]["param"] == "model"
    assert len(served.rows()) == rows + len(may)


def test_a_key_from_another_address_is_refused_whatever_a_header_says(served: Box) -> None:
    here = made(served, "here", "--address", "127.0.0.0/8", "--address", "10.0.0.1")["key"]
    assert served.post(ask(), here)[0] == 200
    away = made(served, "away", "--address", "10.0.0.0/8")["key"]
    assert code(served.post(ask(), away)) == (403, "address-not-allowed")
    assert code(served.get("/v1/models", away)) == (403, "address-not-allowed")
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    pretended = {"x-forwarded-for": "10.0.0.1", "forwarded": "for=10.0.0.1", "x-real-ip": "10.0.0.1"}
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {away}", **pretended})
    assert connection.getresponse().status == 403
    connection.close()


def test_an_expiry_acts_to_the_second_on_a_connection_that_stays_open(served: Box) -> None:
    before = time.time()
    key = made(served, "brief", "--expires", "3s")["key"]
    after = time.time()
    program = Program(served, key)
    assert program.ask() == (200, "")
    while time.time() < before + 3 - 0.1:
        began = time.time()
        found = program.ask()
        # A slow machine may begin before the end and be answered after it.
        assert found == (200, "") or began > before + 2.5
    wait_until(lambda: time.time() > after + 3.05, what="the end")
    assert program.ask() == (401, "key-expired")
    program.close()


def test_suspending_and_resuming_act_on_the_next_request_also_under_load(served: Box) -> None:
    carla = [made(served, "carla", "--team", "sales")["key"] for _ in range(2)]
    dora = made(served, "dora", "--team", "hr")["key"]
    seen: list[tuple[str, float, float, tuple[int, str]]] = []
    over = threading.Event()

    def load(who: str, key: str) -> None:
        program = Program(served, key)
        while not over.is_set():
            began = time.monotonic()
            found = program.ask()
            seen.append((who, began, time.monotonic(), found))
        program.close()

    threads = [threading.Thread(target=load, args=("carla", key)) for key in carla]
    threads.append(threading.Thread(target=load, args=("dora", dora)))
    for thread in threads:
        thread.start()
    turns: list[tuple[bool, float, float]] = [(True, 0.0, time.monotonic())]
    try:
        for words in (("--owner", "carla"), ("--team", "sales")):
            for command, let_in in ((("suspend", *words, "--yes"), False), (("resume", *words), True)):
                began = time.monotonic()
                served.run("keys", *command)
                turns.append((let_in, began, time.monotonic()))
                time.sleep(0.3)
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    counted: Counter[tuple[int, str]] = Counter()
    for who, began, ended, found in seen:
        if who == "dora":
            assert found == (200, "")
            continue
        # What was true for the whole of the request: the last command was over, and the next had not begun.
        place = max(number for number, turn in enumerate(turns) if turn[2] <= began or not number)
        certain = place + 1 == len(turns) or ended < turns[place + 1][1]
        if certain:
            assert found == ((200, "") if turns[place][0] else (403, "suspended"))
            counted[found] += 1
    assert counted[200, ""] > 10
    assert counted[403, "suspended"] > 10


def test_both_keys_work_while_they_overlap_and_the_old_one_stops_to_the_second(served: Box) -> None:
    old = made(served, "eve", "--model", "chat", "--team", "hr")
    program = Program(served, old["key"])
    assert program.ask() == (200, "")
    before = time.time()
    fresh = served.document("keys", "rotate", old["id"], "--overlap", "4s")
    after = time.time()
    assert fresh["replaces"] == old["id"]
    assert (fresh["models"], fresh["team"], fresh["expires_at"]) == (["chat"], "hr", None)
    successor = Program(served, fresh["key"])
    if time.time() < before + 3.5:
        assert program.ask() == (200, "")
    assert successor.ask() == (200, "")
    listed = {key["id"]: key for key in served.document("keys", "list")}
    assert listed[old["id"]]["successor"] == fresh["id"]
    assert listed[fresh["id"]]["state"] == "active"
    wait_until(lambda: time.time() > after + 4.05, what="the end of the overlap")
    assert program.ask() == (401, "key-expired")
    assert fresh["id"] in served.post(ask(), old["key"])[2]["error"]["message"]
    assert successor.ask() == (200, "")
    program.close()
    successor.close()


def test_the_list_shows_when_a_key_was_last_used(served: Box) -> None:
    used, idle = made(served, "used"), made(served, "idle")
    for _ in range(2):
        assert served.post(ask("tokens=1"), used["key"])[0] == 200
    assert served.post(b"[]", idle["key"])[0] == 400
    newest = next(row for row in served.rows() if row["key_id"] == used["id"])["started_at"]
    listed = {key["id"]: key for key in served.document("keys", "list")}
    assert listed[used["id"]]["last_used_at"] == newest
    assert listed[idle["id"]]["last_used_at"] is None
