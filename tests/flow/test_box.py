"""The whole box on the real engine: llama-server with the embedded model, `up`, and the official client."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from appliance.config.paths import Home
from appliance.selector.choose import EMBEDDED
from tests.support.box import Box, ask, endless, wait_until

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, model_file: Path) -> Iterator[Box]:
    """A box that is up, shared by the tests of this file."""
    box = Box(tmp_path_factory.mktemp("box"))
    box.configure("[engines.chat]\ncontext = 1024\nslots = 4\n")
    (box.state / "models").mkdir(parents=True)
    (box.state / "models" / model_file.name).symlink_to(model_file)
    box.run("up", "--no-prove")
    yield box
    box.run("down")


def engine_idle(box: Box) -> bool:
    """Whether llama-server works on nothing, by its own metrics."""
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(Home(box.config, box.state).socket("chat")))
    connection.request("GET", "/metrics")
    said = connection.getresponse().read().decode()
    connection.close()
    return "llamacpp:requests_processing 0\n" in said


def engine_pid(box: Box) -> int:
    """The engine's process id."""
    return int(next(one["pid"] for one in box.document("status")["processes"] if one["name"] == "chat"))


def test_status_is_healthy_and_says_that_the_model_is_a_trial(up: Box) -> None:
    found = up.document("status")
    assert found["healthy"] is True
    assert found["urls"]["api"] == f"http://127.0.0.1:{up.port}/v1"
    assert [engine["trial"] for engine in found["engines"]] == [True]
    assert "trial model" in up.run("status").stdout


def test_chat_answers_and_tells_tokens_and_speed(up: Box) -> None:
    done = up.run("chat", "What is the capital of France?", "--max-tokens", "24")
    assert done.stdout.strip()
    assert "tok/s" in done.stderr


def test_plain_and_streamed_answers_of_the_real_engine_agree_and_are_metered_exactly(up: Box) -> None:
    messages: Any = [{"role": "user", "content": "Count from one to five."}]
    fixed: Any = {"model": "chat", "messages": messages, "temperature": 0, "seed": 1, "max_tokens": 32}
    with openai.OpenAI(base_url=f"http://127.0.0.1:{up.port}/v1", api_key=up.key(), max_retries=0) as api:
        plain = api.chat.completions.create(**fixed)
        chunks = list(api.chat.completions.create(**fixed, stream=True, stream_options={"include_usage": True}))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert plain.choices[0].message.content == streamed != ""
    assert plain.usage is not None
    assert chunks[-1].usage is not None
    assert plain.usage.completion_tokens == chunks[-1].usage.completion_tokens > 0
    second, first = up.rows(2)
    for row, usage in ((first, plain.usage), (second, chunks[-1].usage)):
        assert (row["prompt_tokens"], row["completion_tokens"]) == (usage.prompt_tokens, usage.completion_tokens)
        assert (row["outcome"], row["exact"], row["model"]) == ("complete", True, EMBEDDED)
        assert 0 < row["first_token_ms"] <= row["total_ms"]


def test_a_client_never_sees_what_was_only_asked_for_the_books(up: Box) -> None:
    opened = up.open(up.key(), ask(max_tokens=5, stream=True) | {"temperature": 0})
    said = b""
    while b"[DONE]" not in said:
        said += opened.recv(65536)
    opened.close()
    assert b'"content"' in said
    assert b"timings" not in said
    assert b"usage" not in said


def test_logprobs_schema_and_tools_pass_through(up: Box) -> None:
    with openai.OpenAI(base_url=f"http://127.0.0.1:{up.port}/v1", api_key=up.key(), max_retries=0) as api:
        answer = api.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "Hi"}], max_tokens=3, logprobs=True, top_logprobs=2
        )
        assert answer.choices[0].logprobs is not None
        assert answer.choices[0].logprobs.content is not None
        assert len(answer.choices[0].logprobs.content) == 3
        schema: Any = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        shaped = api.chat.completions.create(
            model="chat",
            messages=[{"role": "user", "content": "Give n"}],
            max_tokens=40,
            temperature=0,
            response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
        )
    assert isinstance(json.loads(shaped.choices[0].message.content or "")["n"], int)


@pytest.mark.parametrize("streamed", [True, False])
def test_hanging_up_frees_the_real_engine_within_200_ms(up: Box, streamed: bool) -> None:
    key = up.key()
    # Somebody else is being served: a plain request's end would go unnoticed beside it.
    other = up.open(key, endless())
    other.recv(1000)
    opened = up.open(key, endless("Tell another long story", stream=streamed))
    time.sleep(1.0)
    opened.close()
    hung_up = time.monotonic()
    rows = up.rows
    wait_until(lambda: rows(1)[0]["outcome"] == "cancelled", 2, "the settled row")
    settled = time.monotonic() - hung_up
    row = rows(1)[0]
    assert row["exact"] is True, "llama-server's own count of each token"
    assert row["completion_tokens"] > 0
    other.close()
    ended = time.monotonic()
    wait_until(lambda: engine_idle(up), 2, "the idle engine")
    assert time.monotonic() - ended < 0.2 + 0.3, "0.3 s for the polls of the test itself"
    assert settled < 0.2 + 0.3


def test_too_long_a_conversation_is_refused_with_the_reason(up: Box) -> None:
    status, _, said = up.post(ask("hello " * 3000), up.key())
    assert (status, said["error"]["code"]) == (400, "context-too-long")
    assert "1024" in said["error"]["message"]


def test_an_engine_killed_in_mid_stream_ends_the_stream_with_its_cause_and_is_back_within_5_s(up: Box) -> None:
    key = up.key()
    opened = up.open(key, endless())
    said = opened.recv(1000)
    while said.count(b"data: ") < 5:
        said += opened.recv(1000)
    os.kill(engine_pid(up), signal.SIGKILL)
    killed = time.monotonic()
    while b'"error"' not in said:
        piece = opened.recv(65536)
        assert piece, said[-500:]
        said += piece
    opened.close()
    assert b"engine-stopped" in said
    assert b"[DONE]" not in said
    status, _, _ = up.post(ask(max_tokens=5), key)
    assert status == 200
    assert time.monotonic() - killed < 5
    assert [row["outcome"] for row in up.rows(2)] == ["complete", "failed"]
    assert up.rows(2)[1]["completion_tokens"] > 0
    assert up.document("status")["processes"][0]["restarts"] == 1


def test_the_bindings_of_the_same_wheel_run_the_same_model(model_file: Path) -> None:
    import llama_cpp

    model = llama_cpp.Llama(str(model_file), n_ctx=256, verbose=False)
    answer: Any = model("The capital of France is", max_tokens=4, temperature=0)
    assert "Paris" in answer["choices"][0]["text"]
    model.close()


def test_every_program_of_the_engine_runs_where_it_was_installed() -> None:
    import subprocess

    from appliance.engine.location import find
    from appliance.engine.recipe import PROGRAMS

    for name in PROGRAMS:
        done = subprocess.run([str(find(name)), "--help"], capture_output=True, text=True, timeout=60, check=False)
        assert "usage" in (done.stdout + done.stderr).lower(), name
