"""What a measurement means: whether it is an alarm, and of what cause. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from appliance.hardware.facts import Gpu, Hardware
from appliance.proof.tables import Proof
from appliance.units import show_bytes

# Of the baseline's speed, what is still no alarm.
LEAST_SPEED: Final = 0.7
# How much more memory than planned is one: the plan is never this wrong without a reason.
_MOST_MEMORY: Final = 1.1
# llama.cpp prints whole MiB.
_DRY_RUN_OFF: Final = 0.03
_DRY_RUN_MIB: Final = 4 * 2**20
# Of all cores, what other programs may use before they are a cause.
_BUSY_SHARE: Final = 0.25

ALARMS: Final = {
    "gpu-not-used": "The model was planned for the graphics card and runs on the processor",
    "slow": "The model writes at less than 70 % of the speed that it once had on this machine",
    "memory-over-plan": "The engine takes more memory than was planned",
    "plan-disagrees": "The engine's own estimate of its memory is another than the plan's",
}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else is going on: the hardware now, cores that other programs keep busy, clocks that are held down."""

    hardware: Hardware
    busy_cores: float = 0.0
    clocks: str = ""

    @property
    def is_busy(self) -> bool:
        """Whether other programs take enough of the processor to slow an engine."""
        return self.busy_cores > _BUSY_SHARE * self.hardware.cores


def judge(now: Proof, base: Proof | None, around: Circumstances) -> tuple[str, str] | None:
    """The alarm's code and its cause in a sentence; None when all is well."""
    was_on_gpu = base is not None and bool(base.offloaded)
    if now.offloaded is False or (was_on_gpu and now.offloaded is None):
        return "gpu-not-used", _why_off(now, base, around.hardware)
    if base is not None and 0 < now.alone_speed < LEAST_SPEED * base.alone_speed:
        return "slow", _why_slow(now, base, around)
    if too_much := _too_much(now):
        return "memory-over-plan", too_much
    if not _agree(now.planned_context, now.dry_context):
        said, planned = show_bytes(now.dry_context), show_bytes(now.planned_context)
        return "plan-disagrees", f"For conversations it says {said}, and {planned} are planned."
    return None


def _too_much(now: Proof) -> str:
    """Which memory it takes too much of; empty when of none."""
    both = (("graphics memory", now.taken_gpu, now.planned_gpu), ("memory", now.taken_host, now.planned_host))
    for memory, taken, planned in both:
        # A card that was not planned for at all is no excess: a driver may keep some of it for any program.
        if planned and taken > planned * _MOST_MEMORY:
            return f"{show_bytes(taken)} of {memory} taken, {show_bytes(planned)} planned."
    return ""


def _agree(planned: int, dry: int) -> bool:
    return abs(planned - dry) <= max(_DRY_RUN_MIB, dry * _DRY_RUN_OFF)


def _why_off(now: Proof, base: Proof | None, hardware: Hardware) -> str:
    """Why a model is not where it was planned."""
    # A part of the processor is not what it was planned for.
    cards = tuple(gpu for gpu in hardware.gpus if gpu.kind == "discrete")
    known = [found.reason for found in hardware.problems]
    if not cards:
        return known[0] if known else "The graphics card is gone: no driver shows one. Restarting the machine may help."
    wanted, free = max(now.planned_gpu, base.planned_gpu if base else 0), _free_for(now, cards)
    takers = [f"{user.name} (process {user.pid})" for gpu in cards for user in gpu.users if user.pid != now.pid]
    if wanted > free:
        if known and not takers:
            return known[0]
        by = f" by {', '.join(takers[:3])}" if takers else ""
        words = f"The graphics card has {show_bytes(free)} free and {show_bytes(wanted)} are needed"
        return f"{words}: its memory is taken{by}."
    return "The card has room, and the engine did not use it: `appliance logs` shows what it said at its start."


def _free_for(now: Proof, cards: tuple[Gpu, ...]) -> int:
    """What an engine can have of the cards: what is free, and what it holds already."""
    own = sum(user.bytes or 0 for gpu in cards for user in gpu.users if user.pid == now.pid)
    return own + sum(gpu.memory_free for gpu in cards)


def _why_slow(now: Proof, base: Proof, around: Circumstances) -> str:
    """Why a model has become slower."""
    speed = f"{now.alone_speed:.1f} tokens a second, {base.alone_speed:.1f} before"
    if around.clocks:
        return f"{speed}: {around.clocks}"
    others = [user for gpu in around.hardware.gpus for user in gpu.users if user.pid != now.pid]
    if now.offloaded and others:
        return f"{speed}: {others[0].name} (process {others[0].pid}) works on the graphics card too."
    if around.is_busy:
        return f"{speed}: other programs keep {around.busy_cores:.1f} of {around.hardware.cores} cores busy."
    if now.plan != base.plan:
        return f"{speed}: it is run in another way now. `appliance models prove --baseline` makes this the measure."
    return f"{speed}: no cause was found. Heat and a shared machine are the usual ones."
