"""What happens to a request before and after its answer: budgets, the line, routes, prices, and what goes on record."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.box import Box, ask, free_port, wait_until
from tests.support.engines import FakeEngine

SETTINGS = """engine_wait_s = 0.2
headroom_s = 1
[engines.chat]
url = "{url}"
model = "large"
slots = 2
[engines.small]
url = "{url}"
model = "little"
[engines.embed]
url = "http://127.0.0.1:{nobody}/v1"
model = "vectors"
[[prices]]
model = "large"
input = "2"
cached = "0.2"
output = "10"
[[reference_prices]]
input = "3"
output = "15"
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, fake_engine: FakeEngine) -> Iterator[Box]:
    """A box with a large and a small model, of which the large one works on two requests at once."""
    box = Box(tmp_path_factory.mktemp("steps"))
    box.configure(SETTINGS.format(url=fake_engine.url, nobody=free_port()))
    box.serve()
    yield box
    box.stop()


def at_once(box: Box, key: str, count: int, body: dict[str, Any]) -> list[tuple[int, dict[str, str], Any]]:
    """Many requests at the same moment: status, headers and body of each."""
    found: list[tuple[int, dict[str, str], Any]] = []
    ready = threading.Barrier(count)

    def one() -> None:
        ready.wait()
        found.append(box.post(body, key))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_fifty_at_once_on_a_budget_worth_five_are_exactly_five_and_a_restart_forgets_nothing(both: Box) -> None:
    for number in range(3):
        owner = f"eve{number}"
        both.run("budgets", "set", "user", owner, "--requests", "5", "--per", "month")
        key = both.key(owner)
        told = Counter(status for status, _, _ in at_once(both, key, 50, ask("tokens=2 wait=20", max_tokens=5)))
        assert told == {200: 5, 429: 45}
        both.stop()
        both.serve()
        assert both.post(ask("tokens=2"), key)[0] == 429
    ends = Counter(row["outcome"] for row in both.rows() if row["principal"].startswith("eve"))
    assert ends == {"complete": 15}


def test_a_budget_of_tokens_holds_what_an_answer_may_have_and_gives_back_what_it_had_not(both: Box) -> None:
    both.run("budgets", "set", "user", "tom", "--tokens", "1000", "--per", "day")
    key, body = both.key("tom"), ask("tokens=3 wait=300", max_tokens=300)
    told = Counter(status for status, _, _ in at_once(both, key, 10, body))
    assert told == {200: 2, 429: 8}, "three times 300 tokens and the prompts are more than there is"
    status, headers, _ = both.post(body, key)
    assert status == 200
    # Two answers of 11 + 3 tokens were used; this one is held until its end.
    assert int(headers["x-ratelimit-limit-tokens"]) == 1000
    assert 600 < int(headers["x-ratelimit-remaining-tokens"]) < 700
    (budget,) = [one for one in both.document("budgets", "list") if one["id"] == "tom"]
    assert budget["used"] == 3 * (11 + 3)
    status, headers, said = both.post(ask("tokens=3", max_tokens=5000), key)
    assert (status, said["error"]["code"], said["error"]["type"]) == (429, "budget-too-small", "insufficient_quota")
    assert "Tom" in said["error"]["message"] or "tom" in said["error"]["message"]


def test_without_a_cap_of_its_own_an_answer_gets_what_is_left(both: Box, fake_engine: FakeEngine) -> None:
    both.run("budgets", "set", "user", "uma", "--tokens", "500", "--per", "day")
    assert both.post(ask("tokens=3"), both.key("uma"))[0] == 200
    assert 256 <= fake_engine.stats()["last"]["max_tokens"] < 500


def test_denials_and_acts_are_on_the_audit_log_and_it_holds(both: Box) -> None:
    assert both.post(ask(), "apl-wrong")[0] == 401
    key = both.document("keys", "create", "--owner", "vic")["key"]
    both.run("budgets", "set", "user", "vic", "--requests", "0", "--per", "day")
    for _ in range(5):
        assert both.post(ask(), key)[0] == 429
    both.run("keys", "suspend", "--owner", "vic", "--yes")
    assert both.post(ask(), key)[0] == 403
    shown = both.document("audit", "tail", "-n", "1000")
    acts = [(one["action"], one["actor"], one["facts"].get("code")) for one in shown]
    assert ("denied", "127.0.0.1", "key-refused") in acts
    assert acts.count(("denied", "vic", "budget-too-small")) == 1, "repeats within a minute are one event"
    assert {"started", "key-created", "budget-set", "suspended"} <= {act for act, _, _ in acts}
    both.run("audit", "verify")
    both.run("keys", "resume", "--owner", "vic")


def test_auto_goes_where_the_rule_says_and_the_ledger_says_why(both: Box) -> None:
    key = both.key("wim")
    _, headers, _ = both.post(ask("Hi", model="auto"), key)
    assert headers["x-appliance-model"] == "little"
    row = both.rows(1)[0]
    assert (row["model_asked"], row["model"], row["route"]) == ("auto", "little", "at most 12 characters")
    _, headers, _ = both.post(ask("Hi", model="auto", tools=[TOOL]), key)
    assert (headers["x-appliance-model"], both.rows(1)[0]["route"]) == ("large", "tools")
    listed = {one["id"] for one in both.get("/v1/models", key)[2]["data"]}
    assert {"auto", "chat", "small", "large", "little"} <= listed


TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def test_another_model_answers_for_one_that_cannot_and_each_attempt_has_its_row(
    tmp_path: Path, fake_engine: FakeEngine
) -> None:
    box = Box(tmp_path)
    settings = SETTINGS.format(url=fake_engine.url, nobody=free_port())
    box.configure(settings.replace(fake_engine.url, f"http://127.0.0.1:{free_port()}/v1", 1))
    box.serve()
    try:
        key = box.key()
        status, headers, said = box.post(ask("tokens=2"), key)
        assert (status, headers["x-appliance-model"]) == (200, "little")
        second, first = box.rows(2)
        assert (first["model"], first["outcome"], first["error"]) == ("large", "failed", "engine-unavailable")
        assert (second["model"], second["outcome"], second["route"]) == ("little", "complete", "after chat")
        assert second["request_id"] == f"{first['request_id']}.1"
        status, _, said = box.post(ask("tokens=2", model="large"), key)
        assert (status, said["error"]["code"]) == (503, "engine-unavailable"), "who names a model gets that or none"
    finally:
        box.stop()


def test_who_waits_for_a_turn_is_told_in_the_stream_and_everybody_is_answered(both: Box) -> None:
    key, others = both.key("xia"), [both.key(name) for name in ("yan", "zoe")]
    busy = [threading.Thread(target=both.post, args=(ask("tokens=1 wait=3500"), other)) for other in others]
    for thread in busy:
        thread.start()
    wait_until(lambda: both.get("/ready")[2]["busy"]["chat"] == 2)
    connection = http.client.HTTPConnection("127.0.0.1", both.port, timeout=30)
    body = ask("tokens=2", stream=True)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {key}"})
    response = connection.getresponse()
    assert (response.status, response.getheader("x-appliance-queue-position")) == (200, "1")
    said = response.read().decode()
    connection.close()
    assert said.startswith(": waiting, position 1, about ")
    assert said.endswith("data: [DONE]\n\n")
    for thread in busy:
        thread.join()
    row = next(row for row in both.rows() if row["principal"] == "xia")
    assert row["outcome"] == "complete"
    assert row["queue_ms"] > 2000


def test_who_hangs_up_in_the_line_leaves_it(both: Box) -> None:
    keys = [both.key(name) for name in ("ann", "bob", "cyd")]
    busy = [threading.Thread(target=both.post, args=(ask("tokens=1 wait=1500"), key)) for key in keys[:2]]
    for thread in busy:
        thread.start()
    wait_until(lambda: both.get("/ready")[2]["busy"]["chat"] == 2)
    connection = http.client.HTTPConnection("127.0.0.1", both.port, timeout=30)
    connection.request("POST", "/v1/chat/completions", json.dumps(ask()), {"authorization": f"Bearer {keys[2]}"})

    def waiting() -> bool:
        said = both.get("/metrics", keys[0])[2].decode()
        return 'appliance_requests_waiting{priority="api"} 1' in said

    wait_until(waiting)
    connection.close()
    wait_until(lambda: not waiting())
    for thread in busy:
        thread.join()
    assert not [row for row in both.rows() if row["principal"] == "cyd"]


def test_costs_and_tasks_stand_in_the_row(both: Box) -> None:
    key = both.key("dan")
    both.post(ask("tokens=4"), key, headers={"x-appliance-task": "title"})
    row = both.rows(1)[0]
    assert (row["priority"], row["task"], row["endpoint"]) == ("background", "title", "chat")
    # 11 and 4 tokens at 2 and 10 a million, and at 3 and 15 elsewhere.
    assert (row["cost"], row["avoided_cost"]) == (11 * 2 + 4 * 10, 11 * 3 + 4 * 15)


def test_metrics_name_nobody(both: Box) -> None:
    status, _, said = both.get("/metrics", both.key("dan"))
    assert status == 200
    assert b"appliance_requests_total{" in said
    assert b"dan" not in said
    assert both.get("/metrics")[0] == 401
