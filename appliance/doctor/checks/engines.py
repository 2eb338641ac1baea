"""The engines: where they run, how fast against their own record, and whether their models are still there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.control import running, status
from appliance.doctor.check import DATABASE, DRIVERS, SETTINGS, Check
from appliance.doctor.finding import Finding
from appliance.doctor.situation import Situation
from appliance.proof.words import alarm

_IDS: Final = {"gpu-not-used": "card-not-used", "slow": "engine-slow"}


def look(situation: Situation) -> Iterator[Finding]:
    """What the plan, the last proof and the shelf say."""
    with DRIVERS:
        proofs = status.proved(situation.home)
    up = running.pids(situation.home)
    for one in running.read(situation.home):
        model = one.plan.model
        if not Path(one.plan.file).exists():
            yield Finding("model-gone", f"The file of {model} is not on the shelf any more.", model)
        proof = proofs.get(model)
        if proof is not None and proof.alarm:
            yield Finding(_IDS.get(proof.alarm, "engine-over-plan"), f"{model}: {alarm(proof)}", model)
        elif one.off_gpu:
            yield Finding("engine-off-card", f"{model} is not on the graphics card. {one.off_gpu}", model)
        elif one.process in up and (proof is None or proof.pid != up[one.process]):
            yield Finding("engine-not-measured", f"{model} was not measured since it was started.", model)


CHECK = Check("engines", "Engines run where and as fast as they should.", look, needs=frozenset({SETTINGS, DATABASE}))
