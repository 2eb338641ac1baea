"""Files and batches on a served gateway: the whole life, and all that can come between."""

from __future__ import annotations

import http.client
import json
import random
import signal
import time
from collections import Counter
from typing import Any, Literal

import openai
import pytest

from appliance.accounts.keys import create, revoke
from appliance.accounts.suspension import suspend
from appliance.accounts.tables import ApiKey
from appliance.store.sessions import session
from tests.support.batches import begin, data, line, now, results, until, upload
from tests.support.box import Box, wait_until
from tests.support.engines import FakeEngine

CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
EMBED = "/v1/embeddings"


def configure(box: Box, engine: FakeEngine, more: str = "") -> None:
    """The fake engine for conversations; `more` goes into the settings of the gateway."""
    box.configure(f'engine_wait_s = 1\n{more}\n[engines.chat]\nurl = "{engine.url}"\nmodel = "fake"\n')


def api_of(box: Box, key: str) -> openai.OpenAI:
    """The official client."""
    return openai.OpenAI(base_url=f"http://127.0.0.1:{box.port}/v1", api_key=key, max_retries=0)


def ids(lines: list[dict[str, Any]]) -> list[str]:
    """The custom_ids, sorted."""
    return sorted(one["custom_id"] for one in lines)


def test_the_official_client_has_a_batch_answered(served: Box) -> None:
    content = data(line(f"r{n}", "tokens=3" if n % 5 else "status=400") for n in range(20))
    with api_of(served, served.key("olga")) as api:
        file = api.files.create(file=("questions.jsonl", content), purpose="batch")
        assert (file.bytes, file.filename, file.purpose) == (len(content), "questions.jsonl", "batch")
        assert api.files.content(file.id).content == content
        made = api.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata={"job": "night"}
        )
        assert made.status == "validating"
        assert made.expires_at == made.created_at + 86_400
        wait_until(lambda: api.batches.retrieve(made.id).status == "completed", what="the batch's end")
        done = api.batches.retrieve(made.id)
        assert done.request_counts is not None
        assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (20, 16, 4)
        assert done.metadata == {"job": "night"}
        assert done.output_file_id
        assert done.error_file_id
        good = [json.loads(one) for one in api.files.content(done.output_file_id).text.splitlines()]
        bad = [json.loads(one) for one in api.files.content(done.error_file_id).text.splitlines()]
        assert ids(good) == sorted(f"r{n}" for n in range(20) if n % 5)
        assert ids(bad) == sorted(f"r{n}" for n in range(0, 20, 5))
        assert good[0]["response"]["body"]["choices"][0]["message"]["content"] == "word " * 3
        assert (bad[0]["response"]["status_code"], bad[0]["error"]) == (400, None)
        assert bad[0]["response"]["body"]["error"]["code"] == "engine-refused"
        assert {one.id for one in api.files.list()} == {file.id, done.output_file_id, done.error_file_id}
        assert [one.id for one in api.batches.list()] == [made.id]
        with pytest.raises(openai.ConflictError) as late:
            api.batches.cancel(made.id)
        assert late.value.code == "batch-ended"
        assert api.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError) as gone:
            api.files.retrieve(file.id)
        assert gone.value.code == "file-not-found"
    rows = {row["request_id"]: row for row in served.rows() if row["principal"] == "olga"}
    assert len(rows) == 20
    assert {row["priority"] for row in rows.values()} == {"batch"}
    assert {one["response"]["request_id"] for one in good + bad} == set(rows)
    assert not list((served.state / "files").glob(f"{made.id}.work*"))
    modes = {path.stat().st_mode & 0o777 for path in (served.state / "files").iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("/v1/completions", {"model": "chat", "prompt": "tokens=2"}),
        ("/v1/responses", {"model": "chat", "input": "tokens=2"}),
        (EMBED, {"model": "embed", "input": ["a", "b"]}),
    ],
)
def test_a_batch_is_for_every_address_that_it_may_name(served_all: Box, address: str, body: dict[str, Any]) -> None:
    key = served_all.key()
    id = begin(served_all, key, [line("one", url=address, body=body)], endpoint=address)
    good, bad = results(served_all, key, until(served_all, key, id))
    assert (ids(good), bad) == (["one"], [])


def test_lists_come_a_page_at_a_time(served: Box) -> None:
    key = served.key("paula")
    made = [begin(served, key, [line("a")]) for _ in range(3)]
    for id in made:
        until(served, key, id)
    with api_of(served, key) as api:
        assert [one.id for one in api.batches.list(limit=1)] == made[::-1], "the client asks for page after page"
        assert len(list(api.files.list(limit=2))) == 6
        assert len(list(api.files.list(purpose="batch"))) == 3
        newest = list(api.files.list(order="desc"))
        assert [one.created_at for one in newest] == sorted((one.created_at for one in newest), reverse=True)
    for query, code in (("limit=0", "field-bad-value"), ("after=x", "field-bad-value"), ("x=1", "field-unknown")):
        status, _, said = served.get(f"/v1/batches?{query}", key)
        assert (status, said["error"]["code"]) == (400, code)


def test_wrong_lines_fail_the_batch_by_number_and_ask_no_model(served: Box, fake_engine: FakeEngine) -> None:
    key, before = served.key(), fake_engine.stats()["asked"]
    lines = [line("a"), line("a"), line("b", url=EMBED), line("c", body={}), "text"]
    found = until(served, key, begin(served, key, lines))
    assert (found["status"], found["output_file_id"], found["error_file_id"]) == ("failed", None, None)
    assert [(one["line"], one["code"]) for one in found["errors"]["data"]] == [
        (2, "duplicate_custom_id"),
        (3, "invalid_url"),
        (4, "missing_required_parameter"),
        (5, "invalid_json_line"),
    ]
    assert fake_engine.stats()["asked"] == before


def test_what_is_somebody_elses_does_not_exist(served: Box) -> None:
    anna, ben = served.key("anna-b"), served.key("ben-b")
    id = begin(served, anna, [line("a")])
    batch = until(served, anna, id)
    for method, path, code in (
        ("GET", f"/v1/files/{batch['input_file_id']}", "file-not-found"),
        ("GET", f"/v1/files/{batch['output_file_id']}/content", "file-not-found"),
        ("DELETE", f"/v1/files/{batch['input_file_id']}", "file-not-found"),
        ("GET", f"/v1/batches/{id}", "batch-not-found"),
        ("POST", f"/v1/batches/{id}/cancel", "batch-not-found"),
        ("GET", "/v1/files/..%2f..%2fappliance.db/content", "file-not-found"),
    ):
        status, _, said = served.request(method, path, None, ben)
        assert (status, said["error"]["code"]) == (404, code), path
    wanted = {"input_file_id": batch["input_file_id"], "endpoint": CHAT, "completion_window": "24h"}
    assert served.post(wanted, ben, "/v1/batches")[2]["error"]["code"] == "file-not-found"
    assert served.get("/v1/files", ben)[2]["data"] == served.get("/v1/batches", ben)[2]["data"] == []
    with session(served.state / "appliance.db") as opened:
        team = create(opened, "anna-b", team="sales")[1]
    assert served.get(f"/v1/batches/{id}", team)[0] == 404, "the same person for a team is somebody else"


def test_a_key_needs_files_and_batches_and_the_endpoint_itself(served: Box) -> None:
    with session(served.state / "appliance.db") as opened:
        chat = create(opened, "carl", endpoints=["chat"])[1]
        night = create(opened, "carl", endpoints=["files", "batches"])[1]
    assert upload(served, chat, b"x")[1]["error"]["code"] == "endpoint-not-allowed"
    assert served.get("/v1/batches", chat)[2]["error"]["code"] == "endpoint-not-allowed"
    file = upload(served, night, data([line("a")]))[1]["id"]
    wanted = {"input_file_id": file, "endpoint": CHAT, "completion_window": "24h"}
    status, _, said = served.post(wanted, night, "/v1/batches")
    assert (status, said["error"]["code"]) == (403, "endpoint-not-allowed")


def test_uploads_are_refused_for_what_they_are(box: Box, fake_engine: FakeEngine) -> None:
    configure(box, fake_engine, "max_file = 2000")
    box.serve()
    key = box.key()
    assert upload(box, key, b"x" * 2000)[0] == 200
    status, said = upload(box, key, b"x" * 2001)
    assert (status, said["error"]["code"]) == (413, "body-too-large")
    assert upload(box, key, b"x", "fine-tune")[1]["error"]["param"] == "purpose"
    assert box.post(b"x" * 40_000, key, "/v1/files")[2]["error"]["code"] == "body-too-large"
    # Somebody who hangs up in the middle leaves nothing behind.
    connection = http.client.HTTPConnection("127.0.0.1", box.port)
    connection.putrequest("POST", "/v1/files")
    for name, value in (
        ("authorization", f"Bearer {key}"),
        ("content-length", "1500"),
        ("content-type", "multipart/form-data; boundary=x"),
    ):
        connection.putheader(name, value)
    connection.endheaders(b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\nabc')
    folder = box.state / "files"
    wait_until(lambda: len(list(folder.iterdir())) == 3, what="the upload's beginning")
    connection.close()
    wait_until(lambda: len(list(folder.iterdir())) == 2, what="its end")


def test_cancelling_cuts_lines_under_way_off_and_keeps_what_was_answered(served: Box, fake_engine: FakeEngine) -> None:
    key = served.key("dora")
    lines = [line("quick"), *(line(f"slow{n}", "tokens=2000 delay=20") for n in range(4))]
    id = begin(served, key, lines)
    until(served, key, id, "in_progress", done=1)
    wait_until(lambda: sum(row["outcome"] == "open" for row in served.rows(10)) == 2, what="two lines under way")
    input_file = now(served, key, id)["input_file_id"]
    status, _, said = served.request("DELETE", f"/v1/files/{input_file}", None, key)
    assert (status, said["error"]["code"]) == (409, "file-in-use")
    cancelled, began = fake_engine.stats()["cancelled"], time.monotonic()
    status, _, said = served.request("POST", f"/v1/batches/{id}/cancel", None, key)
    assert (status, said["status"]) == (200, "cancelling")
    found = until(served, key, id, "cancelled", seconds=5)
    assert time.monotonic() - began < 3
    assert found["cancelling_at"]
    assert found["cancelled_at"]
    good, bad = results(served, key, found)
    assert ids(good) == ["quick"]
    assert ids(bad) == [f"slow{n}" for n in range(4)]
    assert {one["error"]["code"] for one in bad} == {"batch_cancelled"}
    assert found["request_counts"] == {"total": 5, "completed": 1, "failed": 4}
    wait_until(lambda: fake_engine.stats()["cancelled"] == cancelled + 2, what="the engine to be let go")
    outcomes = Counter(row["outcome"] for row in served.rows() if row["principal"] == "dora")
    assert outcomes == {"complete": 1, "cancelled": 2}


def test_the_command_line_lists_and_cancels(served: Box) -> None:
    key = served.key("emma")
    id = begin(served, key, [line("a"), *(line(f"s{n}", "tokens=2000 delay=20") for n in range(9))])
    until(served, key, id, "in_progress", done=1)

    def shown() -> dict[str, Any]:
        return next(one for one in served.document("batches", "list", "--all") if one["id"] == id)

    wait_until(lambda: shown()["completed"] == 1, what="the progress on disk")
    found = shown()
    assert (found["owner"], found["file"], found["state"], found["total"]) == ("emma", "in.jsonl", "in_progress", 10)
    assert id in served.run("batches", "list").stdout
    assert served.document("batches", "cancel", id, code=4)["error"]["code"] == "needs-yes"
    assert served.document("batches", "cancel", id, "--dry-run")["cancelled"] is False
    assert now(served, key, id)["status"] == "in_progress"
    assert served.document("batches", "cancel", id, "--yes")["cancelled"] is True
    until(served, key, id, "cancelled", seconds=5)
    assert shown()["state"] == "cancelled"
    noted = [one for one in served.document("audit", "tail", "-n", "100") if one["action"] == "batch-cancelled"]
    assert [(one["target"], one["facts"]["owner"]) for one in noted] == [(id, "emma")]
    assert id not in served.run("batches", "list").stdout
    assert served.document("batches", "cancel", id, "--yes", code=1)["error"]["code"] == "batch-ended"
    assert served.document("batches", "cancel", "batch_x", code=1)["error"]["code"] == "batch-not-found"


def test_a_line_that_no_budget_will_ever_hold_fails_and_the_others_go_on(served: Box) -> None:
    served.run("budgets", "set", "user", "greta", "--tokens", "500", "--per", "day")
    key = served.key("greta")
    small, large = line("a", "tokens=2"), line("large", "tokens=2")
    small["body"]["max_tokens"], large["body"]["max_tokens"] = 5, 600
    found = until(served, key, begin(served, key, [small, large]), "completed")
    good, bad = results(served, key, found)
    assert (ids(good), ids(bad)) == (["a"], ["large"])
    assert bad[0]["response"]["body"]["error"]["code"] == "budget-too-small"


def test_a_box_without_batches_has_an_empty_list(box: Box) -> None:
    assert box.document("batches", "list") == []


@pytest.mark.parametrize("how", ["revoked", "suspended"])
def test_a_key_that_may_no_longer_be_used_stops_its_batch(served: Box, how: str) -> None:
    owner = f"fred-{how}"
    with session(served.state / "appliance.db") as opened:
        made, key = create(opened, owner)
        spare = create(opened, owner)[1]
        key_id = made.id
    id = begin(served, key, [line(f"s{n}", "tokens=3 delay=100") for n in range(200)])
    until(served, key, id, "in_progress", done=2)
    # The gateway writes all the while.
    with session(served.state / "appliance.db", alone=True) as opened:
        if how == "revoked":
            found = opened.get(ApiKey, key_id)
            assert found is not None
            revoke(opened, found)
        else:
            suspend(opened, "user", owner)
    code = "key-refused" if how == "revoked" else "suspended"

    def record() -> Any:
        return json.loads((served.state / "files" / f"{id}.json").read_bytes())

    wait_until(lambda: record()["status"] == "failed", what="the batch's stop")
    assert [one["code"] for one in record()["faults"]] == [code]
    if how == "revoked":
        good, bad = results(served, spare, now(served, spare, id))
        assert len(good) >= 2
        assert ids(good + bad) == sorted(f"s{n}" for n in range(200))
        assert {one["error"]["code"] for one in bad} == {code}


def test_an_engine_that_is_away_is_waited_for(box: Box) -> None:
    with FakeEngine() as engine:
        configure(box, engine)
        box.serve()
        key = box.key()
    # The engine is gone now, and back in a moment: nothing was at fault with the lines.
    id = begin(box, key, [line("a")])
    wait_until(lambda: any(row["error"] == "engine-unavailable" for row in box.rows()), what="a refusal")
    assert until(box, key, id, "in_progress")["request_counts"]["failed"] == 0
    with FakeEngine() as engine:
        box.stop()
        configure(box, engine)
        box.serve()
        assert until(box, key, id)["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


def test_people_take_turns(box: Box, fake_engine: FakeEngine) -> None:
    configure(box, fake_engine)
    box.serve()
    anna, ben = box.key("anna"), box.key("ben")
    first = begin(box, anna, [line(f"a{n}", "tokens=1 delay=20") for n in range(60)])
    second = begin(box, ben, [line(f"b{n}", "tokens=1 delay=20") for n in range(10)])
    until(box, ben, second)
    assert now(box, anna, first)["request_counts"]["completed"] < 30, "she waits her turn, though she came first"
    until(box, anna, first)


def test_a_window_that_is_over_ends_a_batch(box: Box, fake_engine: FakeEngine) -> None:
    configure(box, fake_engine)
    box.serve()
    key = box.key()
    id = begin(box, key, [line("a"), *(line(f"s{n}", "tokens=2000 delay=20") for n in range(3))])
    until(box, key, id, "in_progress", done=1)
    box.stop()
    path = box.state / "files" / f"{id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "expires_at": int(time.time()) - 1}))
    box.serve()
    found = until(box, key, id)
    assert (found["status"], found["request_counts"]) == ("expired", {"total": 4, "completed": 1, "failed": 3})
    good, bad = results(box, key, found)
    assert (ids(good), {one["error"]["code"] for one in bad}) == (["a"], {"batch_expired"})


@pytest.mark.slow
def test_after_any_kill_every_line_has_one_result_and_few_are_asked_twice(box: Box, fake_engine: FakeEngine) -> None:
    dice, lines, kills = random.Random(7), 300, 6
    configure(box, fake_engine, "batch_lines = 3")
    box.serve()
    key = box.key()
    orders = ["tokens=2 delay=2" if n % 10 else "status=400" for n in range(lines)]
    id = begin(box, key, [line(f"r{n}", order) for n, order in enumerate(orders)])
    for kill in range(kills):
        time.sleep(dice.uniform(0.05, 0.5))
        box.stop(signal.SIGKILL if kill % 3 else signal.SIGTERM)
        journal = box.state / "files" / f"{id}.work.jsonl"
        if journal.exists() and kill % 2:
            with journal.open("ab") as file:
                file.write(b'{"id":"torn","custom_id":"r')
        box.serve()
    found = until(box, key, id, seconds=60)
    good, bad = results(box, key, found)
    assert ids(good + bad) == sorted(f"r{n}" for n in range(lines)), "none lost, none doubled"
    assert len(bad) == lines / 10
    assert found["request_counts"] == {"total": lines, "completed": lines * 9 / 10, "failed": lines / 10}
    rows = box.rows()
    assert lines <= len(rows) <= lines + 3 * kills, "only those under way were asked again"
    assert {one["response"]["request_id"] for one in good + bad} <= {row["request_id"] for row in rows}
