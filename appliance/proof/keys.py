"""What a measurement is filed under."""

from __future__ import annotations

from dataclasses import astuple

from appliance.engine.arguments import EnginePlan
from appliance.hardware.facts import Hardware


def machine_key(hardware: Hardware) -> str:
    """The machine. Without its GPUs: one that is gone must be compared with the days when it was there."""
    return f"{hardware.cpu_model}, {hardware.cores} cores"


def plan_key(plan: EnginePlan) -> str:
    """How a model was run."""
    words = (plan.context, plan.slots, plan.threads, plan.kv, plan.repack, *astuple(plan.options), plan.on_gpu)
    return " ".join(map(str, words))
