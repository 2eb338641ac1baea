"""The planner's arithmetic against llama.cpp's own estimate, for the model that comes with the box."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.artifacts import gguf
from appliance.engine.arguments import EnginePlan, Options
from appliance.engine.dry_run import DryRun, dry_run
from appliance.engine.location import find
from appliance.errors import ApplianceError
from appliance.selector.choose import EMBEDDED
from appliance.selector.memory import Load, kv_bytes, reserved_bytes, state_bytes
from appliance.units import MIB

pytestmark = pytest.mark.model

# Its estimate takes the longer the more context there is; together these are still a few seconds.
LOADS = [
    Load(context, slots, kv, micro_batch=micro_batch)
    for context in (1024, 4096, 8192)
    for slots in (1, 3, 8)
    for kv in ("f16", "q8_0")
    for micro_batch in (128, 512)
]


def estimated(file: Path, load: Load) -> DryRun:
    """What llama-fit-params says of a file; a model on the processor is in one memory."""
    plan = EnginePlan(
        "chat", EMBEDDED, str(file), "", load.context, load.slots, threads=1, kv=load.kv,
        options=Options(micro_batch=load.micro_batch),
    )  # fmt: skip
    (found,) = dry_run(find("llama-fit-params"), plan)
    assert found.memory == "Host"
    return found


@pytest.mark.parametrize("load", LOADS, ids=lambda load: f"{load.context}x{load.slots}-{load.kv}-{load.micro_batch}")
def test_the_plan_for_conversations_and_computing_is_what_the_engine_says(model_file: Path, load: Load) -> None:
    shape, said = gguf.shape(model_file), estimated(model_file, load)
    # It rounds down to whole MiB.
    assert said.context == (kv_bytes(shape, load) + state_bytes(shape, load.slots)) // MIB * MIB
    assert abs(said.compute - reserved_bytes(shape, load)) <= 0.03 * said.compute + 4 * MIB


def test_a_file_that_is_no_model_is_a_failure_with_words(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ApplianceError, match="llama-fit-params failed") as caught:
        estimated(file, LOADS[0])
    assert caught.value.code == "engine-failed"
