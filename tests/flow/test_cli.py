"""The command line as scripts and people meet it: help, JSON, exit codes, answers, usage and logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import typer.main

from appliance.cli.app import app
from appliance.cli.panels import ORDER
from tests.support.box import Box, environment
from tests.support.engines import FakeEngine

pytestmark = pytest.mark.slow

# Each command with --json, with what it needs at least. The walk below keeps the table whole.
READING = {
    "audit restart": (),
    "audit tail": (),
    "audit verify": (),
    "backup create": (),
    "backup drill": (),
    "backup export": ("/media/usb/appliance.backup",),
    "backup list": (),
    "backup schedule": (),
    "backup set-up": ("/media/usb",),
    "backup verify": (),
    "batches cancel": ("batch_0",),
    "batches list": (),
    "budgets list": (),
    "budgets remove": ("box",),
    "budgets set": ("box", "--tokens", "1000", "--per", "day"),
    "ca export": (),
    "ca show": (),
    "chat": ("hello",),
    "chat-page install": (),
    "clients add": ("Wiki", "--redirect", "https://wiki.example.com/callback"),
    "clients list": (),
    "clients remove": ("Wiki",),
    "clients rotate-keys": (),
    "cloud status": (),
    "doctor": (),
    "down": (),
    "engine build": (),
    "groups add": ("sales",),
    "groups join": ("sales", "anna@example.com"),
    "groups leave": ("sales", "anna@example.com"),
    "groups list": (),
    "groups remove": ("sales",),
    "hardware": (),
    "logs": (),
    "keys create": ("--owner", "anna"),
    "keys list": (),
    "keys resume": ("--owner", "anna"),
    "keys revoke": ("key-000000000000",),
    "keys rotate": ("key-000000000000",),
    "keys suspend": ("--owner", "anna"),
    "models fit": ("model.gguf",),
    "models gc": (),
    "models list": (),
    "models plan": (),
    "models prove": (),
    "models pull": (),
    "models rm": ("smollm2-135m-instruct",),
    "models show": ("smollm2-135m-instruct",),
    "models tune": (),
    "models use": ("smollm2-135m-instruct",),
    "models verify": (),
    "report": (),
    "restore": (),
    "sign-in check": (),
    "secrets list": (),
    "secrets rotate": (),
    "status": (),
    "up": (),
    "update apply": (),
    "update check": (),
    "update history": (),
    "update rollback": (),
    "usage": (),
    "users add": ("anna@example.com",),
    "users disable": ("anna@example.com",),
    "users enable": ("anna@example.com",),
    "users import": ("people.csv",),
    "users invite": ("anna@example.com",),
    "users list": (),
    "users owner-link": (),
    "users remove": ("anna@example.com",),
    "users reset": ("anna@example.com",),
    "users show": ("anna@example.com",),
    "users unlink": ("anna@example.com",),
    "users role": ("anna@example.com", "admin"),
}
ROW_NAMES = {
    "request_id",
    "principal",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "outcome",
    "started_at",
    "settled_at",
}


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command below a group, with its full name."""
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        yield from commands(command, full) if hasattr(command, "commands") else ((full, command),)


def test_help_answers_and_lists_the_commands_in_their_panels(box: Box) -> None:
    lines = box.run("--help").stdout.splitlines()
    headings = [line.removesuffix(":") for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Options", *ORDER]
    for panel, command in (("Get started", "up"), ("Models", "models"), ("People", "keys"), ("Care", "logs")):
        start = lines.index(f"{panel}:")
        assert any(line.startswith(f"  {command} ") for line in lines[start : lines.index("", start)])
    assert not box.state.exists(), "help changes nothing"


def test_a_group_without_a_command_shows_its_help_as_wrong_use(box: Box) -> None:
    assert "revoke" in box.run("keys", code=2).stderr


def test_every_command_with_json_stands_in_the_table_of_these_tests() -> None:
    found = dict(commands(typer.main.get_command(app)))
    assert {name for name, command in found.items() if any("--json" in one.opts for one in command.params)} == set(
        READING
    )


def test_every_command_with_json_prints_one_document_on_wrong_use_too(box: Box) -> None:
    def misuse(name: str) -> Any:
        return box.document(*name.split(), *READING[name], "--nonsense", code=2)

    with ThreadPoolExecutor(2) as pool:
        for name, found in zip(READING, pool.map(misuse, READING), strict=True):
            assert found["error"]["code"] == "wrong-use", name
            assert "--nonsense" in found["error"]["message"]
            assert f"appliance {name} --help" in found["error"]["hint"]


def test_a_mistyped_command_is_wrong_use_and_names_the_nearest(box: Box) -> None:
    said = box.run("keys", "creat", code=2).stderr
    assert "Error (wrong-use)" in said
    assert "Did you mean 'create'?" in said


def test_every_command_with_json_prints_one_document_on_a_bug_too(box: Box) -> None:
    # Nobody expects a folder here, so it stands for what nobody expected.
    (box.state / "logs" / "odd.log").mkdir(parents=True)
    done = box.run("logs", "--json", code=70)
    assert json.loads(done.stdout)["error"]["code"] == "internal"
    assert "Traceback" in done.stderr
    assert "This is a bug of the appliance." in done.stderr


def test_a_reader_that_has_seen_enough_is_no_failure(served: Box) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            served.argv("models", "list"), stdout=closed, stderr=subprocess.PIPE, check=False, env=environment()
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_chat_prints_the_answer_and_says_tokens_and_speed(served: Box) -> None:
    done = served.run("chat", "tokens=3 delay=10")
    assert done.stdout == "word word word \n"
    assert done.stderr.startswith("3 tokens at ")
    assert " tok/s, after 11 tokens of prompt" in done.stderr


def test_chat_as_json_is_one_document(served: Box) -> None:
    found = served.document("chat", "tokens=5 delay=10")
    assert (found["answer"], found["prompt_tokens"], found["completion_tokens"]) == ("word " * 5, 11, 5)
    assert found["tokens_per_second"] > 0
    assert found["first_token_seconds"] > 0


@pytest.mark.parametrize(
    ("orders", "code"),
    [("status=500", "engine-failed"), ("tokens=5 drop=2", "engine-stopped"), ("context", "context-too-long")],
)
def test_chat_tells_the_gateways_errors(served: Box, orders: str, code: str) -> None:
    error = served.document("chat", orders, code=1)["error"]
    assert error["code"] == code
    assert error["hint"] not in error["message"]


def test_chat_with_an_unknown_model_names_the_failure(served: Box) -> None:
    assert served.document("chat", "hello", "--model", "nobody", code=1)["error"]["code"] == "model-not-found"


def test_chat_without_a_gateway_says_not_running(box: Box) -> None:
    assert box.document("chat", "hello", code=1)["error"]["code"] == "not-running"


def test_chat_with_something_else_on_the_port_says_so(box: Box, fake_engine: FakeEngine) -> None:
    box.port = fake_engine.port
    box.configure()
    error = box.document("chat", "status=404", code=1)["error"]
    assert error["code"] == "not-running"
    assert "is not the gateway" in error["message"]


def test_chat_ends_with_130_when_interrupted(served: Box) -> None:
    with subprocess.Popen(
        served.argv("chat", "tokens=1000 delay=50"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as asking:
        assert asking.stdout is not None
        asking.stdout.read(1)
        asking.send_signal(signal.SIGINT)
        said = asking.communicate(timeout=20)[1]
    assert (asking.returncode, said) == (130, b"Interrupted.\n")


def test_usage_counts_by_person_and_model_and_lists_the_calls(served: Box) -> None:
    served.run("chat", "tokens=7")
    row = served.document("usage", "--rows", "--limit", "1")[0]
    assert set(row) >= ROW_NAMES
    assert (row["principal"], row["model"], row["completion_tokens"], row["outcome"]) == (
        "admin",
        "fake",
        7,
        "complete",
    )
    assert row["started_at"].endswith("Z")
    assert row["settled_at"] >= row["started_at"]
    total = served.document("usage")[0]
    assert (total["principal"], total["model"]) == ("admin", "fake")
    assert total["calls"] >= 1
    assert total["completion_tokens"] >= 7
    table = served.run("usage", "--rows").stdout.splitlines()
    assert table[0].split()[:3] == ["started", "at", "principal"]
    assert row["request_id"] in table[1]


def test_usage_of_a_new_box_is_empty_and_not_an_error(box: Box) -> None:
    assert box.document("usage", "--rows") == []
    assert box.run("usage").stdout.startswith("principal")


def test_logs_shows_the_last_lines_of_all_or_one(box: Box) -> None:
    assert "Logs: none yet." in box.run("logs", code=2).stderr
    logs = box.state / "logs"
    logs.mkdir(parents=True)
    (logs / "serve.log").write_text("".join(f"line {number} {'x' * 50}\n" for number in range(5000)))
    (logs / "chat.log").write_text("loaded\n")
    assert len(box.run("logs").stdout.splitlines()) == 20 + 1
    shown = box.run("logs", "serve", "-n", "4000").stdout.splitlines()
    assert len(shown) == 4000
    assert shown[0].startswith("serve: line 1000 ")
    assert box.document("logs", "-n", "1")[0] == {"log": "chat", "text": "loaded"}
    assert "Logs: chat, serve." in box.run("logs", "gateway", code=2).stderr


def test_logs_follows_whole_lines_even_across_a_cut(box: Box) -> None:
    log = box.state / "logs" / "serve.log"
    log.parent.mkdir(parents=True)
    log.write_text("first\nsecond\n")
    with subprocess.Popen(
        box.argv("logs", "-f", "-n", "1"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "serve: second\n"
        with log.open("a") as opened:
            opened.write("half")
            opened.flush()
            opened.write(" a line\n")
        assert follower.stdout.readline() == "serve: half a line\n"
        log.write_text("new\n")
        assert follower.stdout.readline() == "serve: new\n"
        follower.send_signal(signal.SIGINT)
        assert follower.communicate(timeout=20) == ("", "Interrupted.\n")
    assert follower.returncode == 130
