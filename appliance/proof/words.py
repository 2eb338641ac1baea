"""A proof for people and for scripts: pure."""

from __future__ import annotations

from typing import Any

from appliance.proof.judge import ALARMS
from appliance.proof.tables import Proof
from appliance.units import show_bytes, show_instant


def summary(proof: Proof) -> dict[str, Any]:
    """A proof as JSON; sizes in bytes, speeds in tokens a second, null where it was too busy to be measured."""
    return {
        "at": show_instant(proof.at),
        "model": proof.model,
        "role": proof.role,
        "context": proof.context,
        "slots": proof.slots,
        "filled": proof.filled,
        "baseline": proof.is_baseline,
        "reads": _speed(proof.prompt_speed),
        "writes": _speed(proof.alone_speed),
        "writes_together": _speed(proof.together_speed),
        "host": {"planned": proof.planned_host, "taken": proof.taken_host},
        "gpu": {"planned": proof.planned_gpu, "taken": proof.taken_gpu},
        "dry_run": {
            "context": {"planned": proof.planned_context, "llama_cpp": proof.dry_context},
            "compute": {"planned": proof.planned_compute, "llama_cpp": proof.dry_compute},
        },
        "offloaded": proof.offloaded,
        "alarm": proof.alarm,
        "cause": proof.cause,
    }


def proof_summary(proof: Proof | None) -> dict[str, Any] | None:
    """The same for a model that may never have been proved."""
    return summary(proof) if proof else None


def in_short(proof: Proof | None) -> str:
    """A proof in a table's cell: tokens a second for one, bytes taken, and whether something was wrong."""
    if proof is None:
        return ""
    words = f"{_number(proof.alone_speed)} tok/s, " if proof.alone_speed else ""
    wrong = f" ({proof.alarm})" if proof.alarm else ""
    return f"{words}{show_bytes(proof.taken_host + proof.taken_gpu)}{wrong}"


def sentence(proof: Proof) -> str:
    """A proof in one line: speed, memory, place."""
    return f"{speed(proof)}; {memory(proof)}"


def speed(proof: Proof) -> str:
    """How fast it was, in a few words."""
    if not proof.alone_speed:
        return "speed not measured: it was busy"
    if proof.role in ("embed", "rerank"):
        return f"reads {_number(proof.alone_speed)} tokens a second"
    return f"{_number(proof.alone_speed)} tokens a second for one, {_number(proof.together_speed)} for all"


def memory(proof: Proof) -> str:
    """What it takes against what was planned, in a few words."""
    host = f"{show_bytes(proof.taken_host)} of memory ({show_bytes(proof.planned_host)} planned)"
    if not proof.planned_gpu:
        return host
    gpu = f"{show_bytes(proof.taken_gpu)} of graphics memory ({show_bytes(proof.planned_gpu)} planned)"
    return f"{gpu}, {host}"


def alarm(proof: Proof) -> str:
    """What is wrong, and why; empty when nothing is."""
    return f"{ALARMS.get(proof.alarm, proof.alarm)}. {proof.cause}" if proof.alarm else ""


def _speed(value: float) -> float | None:
    return round(value, 2) if value else None


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
