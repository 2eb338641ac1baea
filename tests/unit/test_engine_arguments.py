"""llama-server's command line: what it must have and what it must never have."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.config.paths import Home
from appliance.engine.arguments import EnginePlan, server_arguments
from appliance.engine.process import engine_process

PLAN = EnginePlan("chat", "smol", "/m/smol.gguf", "/s/run/chat.sock", context=4096, slots=3, threads=2)


def value(name: str, plan: EnginePlan = PLAN) -> str:
    """The word after an option."""
    argv = server_arguments("/bin/llama-server", plan)
    return argv[argv.index(name) + 1]


def test_the_engine_listens_on_a_unix_socket_and_on_no_tcp_port() -> None:
    argv = server_arguments("/bin/llama-server", PLAN)
    assert argv[0] == "/bin/llama-server"
    # llama-server takes a host for a socket by this ending.
    assert value("--host") == "/s/run/chat.sock"
    assert value("--host").endswith(".sock")
    assert "--port" not in argv


@pytest.mark.parametrize("state", ["/s", "/" + "s" * 300])
def test_every_socket_that_we_name_is_one_to_llama_server(state: str) -> None:
    socket = Home(Path("/c"), Path(state)).socket("chat")
    assert socket.is_absolute()
    assert socket.name.endswith(".sock")


@pytest.mark.parametrize("option", ["--no-slots", "--no-webui", "--no-context-shift", "--offline"])
def test_what_shows_prompts_or_forgets_or_reaches_out_is_off(option: str) -> None:
    assert option in server_arguments("/bin/llama-server", PLAN)


@pytest.mark.parametrize("option", ["--slots", "--slot-save-path", "--props", "--rpc", "--hf-repo", "--model-url"])
def test_nothing_dangerous_is_switched_on(option: str) -> None:
    assert option not in server_arguments("/bin/llama-server", PLAN)


@pytest.mark.parametrize(("context", "slots", "all_of_it"), [(4096, 3, "12288"), (512, 1, "512"), (8192, 64, "524288")])
def test_each_slot_has_the_whole_context(context: int, slots: int, all_of_it: str) -> None:
    plan = dataclasses.replace(PLAN, context=context, slots=slots)
    assert value("--ctx-size", plan) == all_of_it
    assert value("--parallel", plan) == str(slots)


def test_no_prompt_cache_takes_memory_that_no_plan_counts() -> None:
    assert value("--cache-ram") == "0"


def test_reading_a_prompt_takes_no_more_threads_than_answering() -> None:
    assert value("--threads") == value("--threads-batch") == "2"


def test_an_engines_process_clears_its_old_socket_and_is_asked_over_the_new_one(tmp_path: Path) -> None:
    spec = engine_process(Path("/bin/llama-server"), PLAN, tmp_path / "chat.log")
    assert spec.name == "chat"
    assert spec.argv == server_arguments("/bin/llama-server", PLAN)
    assert (spec.probe.socket, spec.probe.host, spec.probe.port) == (PLAN.socket, None, None)
    assert spec.stale == (PLAN.socket,)
    assert spec.nice < 0
