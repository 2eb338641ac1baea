"""llama-server's command line: what it must have and what it must never have."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from appliance.config.paths import Home
from appliance.engine.arguments import EnginePlan, Options, memory_arguments, server_arguments
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


def test_what_was_planned_is_not_fitted_again() -> None:
    assert value("--fit") == "off"


@pytest.mark.parametrize(
    ("role", "switch"), [("chat", None), ("small", None), ("embed", "--embedding"), ("rerank", "--reranking")]
)
def test_each_role_is_asked_for_what_it_is_for(role: str, switch: str | None) -> None:
    argv = server_arguments("/bin/llama-server", dataclasses.replace(PLAN, role=role))
    assert [word for word in argv if word in ("--embedding", "--reranking")] == ([switch] if switch else [])
    assert "--pooling" not in argv


def test_what_may_be_tuned_is_said_to_the_engine() -> None:
    tuned = dataclasses.replace(PLAN, options=Options(reading_threads=8, micro_batch=128, flash="off", guess="ngram"))
    assert (value("--threads", tuned), value("--threads-batch", tuned)) == ("2", "8")
    assert value("--ubatch-size", tuned) == "128"
    assert value("--flash-attn", tuned) == "off"
    assert value("--spec-type", tuned) == "ngram"


def test_without_tuning_the_engine_does_not_guess() -> None:
    assert "--spec-type" not in server_arguments("/bin/llama-server", PLAN)
    assert (value("--ubatch-size"), value("--flash-attn")) == ("512", "auto")


@pytest.mark.parametrize("flash", ["auto", "on", "off"])
def test_8_bit_caches_hold_keys_and_values_and_come_with_flash_attention(flash: str) -> None:
    held = dataclasses.replace(PLAN, kv="q8_0", options=Options(flash=flash))
    assert value("--cache-type-k", held) == value("--cache-type-v", held) == "q8_0"
    assert value("--flash-attn", held) == "on"
    assert "--cache-type-k" not in server_arguments("/bin/llama-server", PLAN)


def test_a_model_is_on_the_cards_as_a_whole_or_not_at_all() -> None:
    off, on = memory_arguments(PLAN), memory_arguments(dataclasses.replace(PLAN, on_gpu=True))
    assert (value("--device"), "--gpu-layers" in off) == ("none", False)
    assert on[on.index("--gpu-layers") + 1] == "all"
    assert on[on.index("--split-mode") + 1] == "layer"
    assert "--device" not in on


def test_weights_are_held_a_second_time_unless_there_is_no_room() -> None:
    assert "--no-repack" not in memory_arguments(PLAN)
    assert "--no-repack" in memory_arguments(dataclasses.replace(PLAN, repack=False))


def test_all_that_decides_memory_stands_in_the_engines_command_line() -> None:
    plan = dataclasses.replace(PLAN, kv="q8_0", repack=False, on_gpu=True)
    assert " ".join(memory_arguments(plan)) in " ".join(server_arguments("/bin/llama-server", plan))


def test_an_engines_process_clears_its_old_socket_and_is_asked_over_the_new_one(tmp_path: Path) -> None:
    spec = engine_process(Path("/bin/llama-server"), PLAN, tmp_path / "chat.log")
    assert spec.name == "chat"
    assert spec.argv == server_arguments("/bin/llama-server", PLAN)
    assert (spec.probe.socket, spec.probe.host, spec.probe.port) == (PLAN.socket, None, None)
    assert spec.stale == (PLAN.socket,)
    assert spec.nice < 0


@pytest.mark.parametrize("role", ["embed", "rerank"])
def test_an_engine_that_reads_in_bulk_gives_way_to_those_who_wait_for_an_answer(role: str, tmp_path: Path) -> None:
    spec = engine_process(Path("/bin/llama-server"), dataclasses.replace(PLAN, role=role), tmp_path / "log")
    assert spec.nice > 0
