"""Proofs as measured on a good day; a test changes what its day was like."""

from __future__ import annotations

from typing import Any

from appliance.proof.tables import Proof
from appliance.units import GIB, MIB

# The process id of the engine that was measured.
PID = 500


def proof(**changed: Any) -> Proof:
    """A chat model on the processor, all as planned."""
    plain: dict[str, Any] = {
        "at": 1_700_000_000_000_000,
        "machine": "8 cores",
        "model": "m",
        "role": "chat",
        "plan": "as planned",
        "pid": PID,
        "context": 4096,
        "slots": 2,
        "planned_host": 4 * GIB,
        "taken_host": 4 * GIB,
        "planned_context": 512 * MIB,
        "dry_context": 512 * MIB,
        "planned_compute": 100 * MIB,
        "dry_compute": 100 * MIB,
        "prompt_speed": 200.0,
        "alone_speed": 20.0,
        "together_speed": 30.0,
    }
    return Proof(**{**plain, **changed})


def on_card(**changed: Any) -> Proof:
    """The same on a graphics card."""
    placed = {"offloaded": True, "planned_gpu": 6 * GIB, "taken_gpu": 6 * GIB, "planned_host": GIB, "taken_host": GIB}
    return proof(**{**placed, **changed})
