"""A proof as people and scripts read it, and what it is filed under."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from appliance.engine.arguments import EnginePlan, Options
from appliance.hardware.problems import problem
from appliance.proof.judge import ALARMS
from appliance.proof.keys import machine_key, plan_key
from appliance.proof.words import alarm, in_short, memory, proof_summary, sentence, speed, summary
from appliance.units import GIB, MIB
from docs.machines import card, computer
from tests.support.proofs import on_card, proof

PLAN = EnginePlan("chat", "m", "/m.gguf", "/chat.sock", context=4096, slots=2, threads=4)


def test_a_writing_model_is_told_by_what_one_and_all_can_read() -> None:
    assert speed(proof(alone_speed=9.44, together_speed=31.4)) == "9.4 tokens a second for one, 31 for all"
    assert speed(proof(role="small")) == "20 tokens a second for one, 30 for all"


@pytest.mark.parametrize("role", ["embed", "rerank"])
def test_a_model_for_search_is_told_by_what_it_reads(role: str) -> None:
    assert speed(proof(role=role, alone_speed=512.0)) == "reads 512 tokens a second"


@pytest.mark.parametrize("role", ["chat", "embed"])
def test_a_busy_engine_has_no_speed(role: str) -> None:
    busy = proof(role=role, alone_speed=0.0)
    assert speed(busy) == "speed not measured: it was busy"
    assert summary(busy)["writes"] is None


def test_memory_is_told_with_its_plan_and_a_cards_first() -> None:
    assert memory(proof(taken_host=300 * MIB)) == "300 MiB of memory (4.0 GiB planned)"
    assert memory(on_card()) == "6.0 GiB of graphics memory (6.0 GiB planned), 1.0 GiB of memory (1.0 GiB planned)"
    assert sentence(on_card()) == f"{speed(on_card())}; {memory(on_card())}"


def test_a_tables_cell_holds_speed_memory_and_alarm() -> None:
    assert in_short(None) == ""
    assert in_short(on_card()) == "20 tok/s, 7.0 GiB"
    assert in_short(proof(alone_speed=0.0)) == "4.0 GiB"
    assert in_short(proof(alarm="slow", alone_speed=2.5)) == "2.5 tok/s, 4.0 GiB (slow)"


def test_a_model_that_was_never_proved_has_no_summary() -> None:
    assert proof_summary(None) is None
    assert proof_summary(proof()) == summary(proof())


def test_an_alarm_is_its_meaning_and_its_cause() -> None:
    assert alarm(proof()) == ""
    assert alarm(proof(cause="It needs more graphics memory.")) == ""
    assert alarm(proof(alarm="slow", cause="It is hot.")) == f"{ALARMS['slow']}. It is hot."


def test_an_alarm_of_another_version_is_shown_as_it_is() -> None:
    assert alarm(proof(alarm="too-loud", cause="A fan.")) == "too-loud. A fan."


def test_a_script_reads_every_number_of_a_proof() -> None:
    found = json.loads(json.dumps(summary(on_card(prompt_speed=1.239, alarm="slow", cause="x", is_baseline=True))))
    assert (found["at"], found["baseline"]) == ("2023-11-14T22:13:20.000Z", True)
    assert (found["reads"], found["writes"], found["writes_together"]) == (1.24, 20.0, 30.0)
    assert found["gpu"] == {"planned": 6 * GIB, "taken": 6 * GIB}
    assert found["host"] == {"planned": GIB, "taken": GIB}
    assert found["dry_run"]["context"] == {"planned": 512 * MIB, "llama_cpp": 512 * MIB}
    assert found["dry_run"]["compute"] == {"planned": 100 * MIB, "llama_cpp": 100 * MIB}
    assert (found["offloaded"], found["alarm"], found["cause"]) == (True, "slow", "x")


def test_a_machine_is_the_same_without_its_card_and_another_with_other_cores() -> None:
    whole = computer(32, card(12, 400))
    crippled = replace(computer(16), problems=(problem("NVIDIA card 0", "gpu-lost"),))
    assert machine_key(whole) == machine_key(crippled)
    assert machine_key(whole) != machine_key(replace(whole, cores=4))
    assert machine_key(whole) != machine_key(replace(whole, cpu_model="another"))


def test_where_an_engine_listens_is_not_how_it_is_run() -> None:
    assert plan_key(replace(PLAN, socket="/chat-2.sock", file="/elsewhere/m.gguf")) == plan_key(PLAN)


CHANGES: list[dict[str, Any]] = [
    {"context": 8192},
    {"slots": 4},
    {"threads": 8},
    {"kv": "q8_0"},
    {"repack": False},
    {"on_gpu": True},
    {"options": Options(reading_threads=8)},
    {"options": Options(micro_batch=128)},
    {"options": Options(batch=512)},
    {"options": Options(flash="on")},
    {"options": Options(guess="ngram")},
]


def test_every_change_of_how_an_engine_is_run_has_a_key_of_its_own() -> None:
    keys = {plan_key(PLAN), *(plan_key(replace(PLAN, **changed)) for changed in CHANGES)}
    assert len(keys) == 1 + len(CHANGES)
    # Whoever adds a field says here whether it is how an engine is run: these are not.
    others = {"role", "model", "file", "socket", "options"}
    assert len(fields(EnginePlan)) - len(others) + len(fields(Options)) == len(CHANGES)
